"""`push` says which lines of a file are no records before they become dead letters."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest
from click.testing import CliRunner

from metroline.agents.services.line import Line
from metroline.app.cli import cli
from metroline.app.inputs.source_records import UnfitLines, records_of
from metroline.routing.errors import InvalidLine

LINES = b'{"a": 1}\n\n  \nitem;price\n{"a": 2}\n[1, 2]\n' + b"x" * 100 + b"\n"
FIRST = "line 4, 'item;price': not valid JSON: unexpected character, expected a JSON value: line 1 column 1 (char 0)"


@pytest.fixture
def line() -> Line:
    return Line.load("metroline.agents.lines.metrobus")


def test_the_lines_that_are_no_records_are_counted_and_the_first_is_named(tmp_path: Path, line: Line) -> None:
    file = tmp_path / "records.jsonl.gz"
    file.write_bytes(gzip.compress(LINES))
    looked = UnfitLines()

    sent = list(records_of(str(file), line, looked=looked))

    assert sent == [one for one in LINES.split(b"\n") if one.strip()]
    assert (
        looked.describe()
        == f"3 of 5 lines are no records (a record is a JSON object in one line); the first is {FIRST}"
    )


def test_a_long_line_is_shown_by_its_beginning() -> None:
    looked = UnfitLines()
    looked.look_at(1, "ä".encode() * 100)
    assert looked.first.startswith("line 1, '" + "ä" * 57 + "...': not valid JSON")


def test_a_file_of_records_has_nothing_to_tell(tmp_path: Path, line: Line) -> None:
    (tmp_path / "records.jsonl").write_text('{"a": 1}\n\n{"a": 2}')
    (tmp_path / "records.csv").write_text("a\n1\n")
    looked = UnfitLines()
    for name in ("records.jsonl", "records.csv"):
        list(records_of(str(tmp_path / name), line, looked=looked))
    assert looked.unfit == 0


def test_the_standard_input_can_be_read_twice_and_keeps_its_name() -> None:
    refused = CliRunner().invoke(cli, ["push", "--records", "-", "--strict"], input=LINES)
    assert refused.exit_code == 1
    assert refused.stderr.startswith("error: -: 3 of 5 lines are no records")
    unclear = CliRunner().invoke(cli, ["push", "--records", "-", "--strict"], input=b"n,note\n1,a\n")
    assert unclear.exit_code == 2
    assert unclear.stderr.startswith("error: the standard input: its first line is not JSON: 'n,note'; write --format")


def test_records_have_to_be_named_so_that_a_pipe_is_not_answered_with_sample_records() -> None:
    refused = CliRunner().invoke(cli, ["push"], input=LINES)
    assert refused.exit_code == 2
    assert refused.stderr == (
        "error: nothing to send: write --records FILE, or - for the standard input, or 10 for sample records\n"
    )


@pytest.mark.parametrize("command", ["push", "compare"])
def test_a_file_without_the_option_is_answered_with_it(command: str) -> None:
    refused = CliRunner().invoke(cli, [command, "orders.csv"])
    assert refused.exit_code == 2
    assert "unexpected argument 'orders.csv'; a file of records is named by --records FILE" in refused.stderr


def test_strict_sends_nothing_if_a_line_is_no_record(tmp_path: Path) -> None:
    file = tmp_path / "records.jsonl"
    file.write_bytes(LINES)

    refused = CliRunner().invoke(cli, ["push", "--records", str(file), "--strict"])

    assert refused.exit_code == 1
    assert refused.stderr.startswith(f"error: {file}: 3 of 5 lines are no records")
    assert refused.stderr.rstrip().endswith(f"{FIRST}; nothing was sent")


@pytest.mark.parametrize(
    ("body", "told"),
    [
        ("raise SystemExit(0)", "SystemExit: 0 (records.py:2)"),
        ("yield {'n': 1 / 0}", "ZeroDivisionError: division by zero (records.py:2)"),
        ("return None", "TypeError: 'NoneType' object is not iterable"),
        ("yield {'n': {1}}", "record 1 does not fit into JSON: Type is not JSON serializable: set"),
    ],
)
def test_whatever_the_records_of_a_line_raise_is_one_line(tmp_path: Path, body: str, told: str) -> None:
    (tmp_path / "records.py").write_text(f"def records(count, seed):\n    {body}\n")
    (tmp_path / "services.py").write_text(
        "from metroline import service\n\n\n@service\ndef price(record):\n    return record\n"
    )
    (tmp_path / "routes.toml").write_text('[[rules]]\nafter = "source"\nto = "price"\n')
    with pytest.raises(InvalidLine) as caught:
        list(records_of("3", Line.load(str(tmp_path))))
    assert str(caught.value) == f"the records of the line {tmp_path.name!r}: {told}"
