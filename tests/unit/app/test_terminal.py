"""Text from records, rules and people reaches a terminal as text, whole, and nothing that it would obey."""

from __future__ import annotations

import ast
import importlib
import io
import json
import logging
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from hypothesis import given
from hypothesis import strategies as st

import metroline.app.cli
from metroline.app.cli import cli
from metroline.app.cli.console import print_rows, safe_console
from metroline.app.cli.terminal import say, say_json, say_text
from metroline.app.logs import JsonFormatter, LineFormatter
from metroline.app.markup.text import OBEYED, escaped, escaped_json, escaped_lines
from metroline.app.operations.letter import Group, Letter
from metroline.routing.messages.envelope import Envelope
from metroline.routing.messages.record_ids import Origin
from metroline.routing.messages.segment import Replay, Segment, Visit
from metroline.routing.outcome import Cause, Outcome
from tests.support.worlds import examples

EVIL = (
    "[red]a[/red] [link=http://evil.example]b[/link] :boom: \x1b[31m\x1b]8;;http://evil.example\x07\x9b2J\x7f\u202egnp"
    "\u2028\r\nerror: forged"
)
SHOWN = (
    r"[red]a[/red] [link=http://evil.example]b[/link] :boom: \x1b[31m\x1b]8;;http://evil.example\x07\x9b2J\x7f\u202egnp"
    r"\u2028\r\nerror: forged"
)
PRINTING = ("click.echo", "click.secho", "print", "Console", "sys.stderr.write")
LONG_ID = "source-" + "0" * 150 + "-17"


@given(st.text())
@examples(300)
def test_what_a_terminal_obeys_is_in_no_escaped_text(text: str) -> None:
    assert not OBEYED.search(escaped(text))
    assert not OBEYED.search(escaped_lines(text).replace("\n", "").replace("\t", ""))


@given(st.recursive(st.text(st.characters(exclude_categories=["Cs"])), st.lists))
@examples(300)
def test_escaped_json_holds_the_same(value: Any) -> None:
    text = escaped_json(json.dumps(value, ensure_ascii=False))
    assert not OBEYED.search(text)
    assert json.loads(text) == value


def test_letters_of_all_scripts_stay_as_they_are() -> None:
    for text in ("naïve", "東京 ▸ →", "שלום", "سلام", "👩‍👩‍👧 é", "می‌خواهم"):
        assert escaped(text) == text


def test_a_line_is_one_line_and_a_text_has_its_own(capsys: pytest.CaptureFixture[str]) -> None:
    say(EVIL)
    say_text("1: a\n   ^\x1b")
    say_json({"name": EVIL})
    (
        line,
        *text,
    ) = capsys.readouterr().out.split("\n", 3)
    assert line == SHOWN
    assert text[:2] == ["1: a", r"   ^\x1b"]
    assert not OBEYED.search(text[2].replace("\n", ""))
    assert json.loads(text[2]) == {"name": EVIL}


def listed(monkeypatch: pytest.MonkeyPatch, columns: int | None) -> str:
    if columns is not None:
        monkeypatch.setenv("FORCE_COLOR", "1")
        monkeypatch.setenv("COLUMNS", str(columns))
    module = importlib.import_module("metroline.app.cli.dead_letters")

    class Desk:
        async def groups(self) -> list[Group]:
            return [Group("4be3b2", (EVIL, "service_error", "x" * 300, EVIL), "", 2, 0.0, 1.5, LONG_ID)]

    monkeypatch.setattr(module, "_desk", lambda _: Desk())
    return CliRunner().invoke(cli, ["dead-letters", "list"]).output


@pytest.mark.parametrize("columns", [None, 40, 80, 2_000])
def test_the_list_of_dead_letters_is_whole_and_safe_at_every_width(
    monkeypatch: pytest.MonkeyPatch, columns: int | None
) -> None:
    output = listed(monkeypatch, columns)
    lines = output.splitlines()
    assert any(SHOWN in line for line in lines), "no markup, and nothing that a terminal obeys"
    for whole in (LONG_ID, "4be3b2", "x" * 300, "1970-01-01T00:00:01.500Z"):
        assert any(whole in line for line in lines), f"{whole} is on one line"
    assert EVIL not in output
    assert "…" not in output


def test_where_it_is_piped_each_group_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    [_, _, row] = listed(monkeypatch, None).splitlines()
    assert row.rstrip().endswith(LONG_ID)


def test_a_table_that_fits_is_a_table(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "80")
    print_rows("[b]title", ["name"], [{"name": "[red]x"}])
    assert "[red]x" in capsys.readouterr().out


def shown(monkeypatch: pytest.MonkeyPatch, *options: str, settled: float = 1_700_000_003.0) -> Result:
    died = Outcome.dead(Cause.EXPIRED, EVIL)
    segment = Segment(
        (17,),
        (json.dumps({"note": EVIL}).encode(),),
        1_700_000_000.5,
        (Visit("ship", 1_700_000_001.25, EVIL, "on-ramp", 1),),
        outcome=died,
        replays=(Replay(1_700_000_002.0, "me", "why"),),
    )
    letter = Letter(Envelope("signpost", Origin("source", 3), (segment,)), settled, "orders.in")
    module = importlib.import_module("metroline.app.cli.dead_letters")
    monkeypatch.setattr(module, "_desk", lambda _: None)
    monkeypatch.setattr(module, "_chosen", lambda *_: [letter])
    return CliRunner().invoke(cli, ["dead-letters", "show", "source-3-17", *options])


def test_a_dead_letter_is_shown_with_times_and_topic_for_people(monkeypatch: pytest.MonkeyPatch) -> None:
    output = shown(monkeypatch).output
    assert not OBEYED.search(output.replace("\n", ""))
    lines = [" ".join(line.split()) for line in output.splitlines()]
    assert lines[1].startswith("expired: ")
    assert "2023-11-14 22:13:20.500 +0.000 s entered, by signpost" in lines
    assert any(line.startswith("2023-11-14 22:13:21.250 +0.750 s ship, by the rule ") for line in lines)
    assert "2023-11-14 22:13:23.000 +2.500 s dead after 0 hops on the bus" in lines
    assert "2023-11-14 22:13:22.000 by me: it was dead for why" in lines
    assert "topic orders.in, partition 3, offset 17" in lines
    record = output.partition("\nrecord\n")[2].partition("\n\nnext\n")[0]
    assert json.loads(record) == {"note": EVIL}
    assert lines[-1] == "metroline dead-letters discard source-3-17 --reason TEXT"


def test_a_timeline_ends_with_the_death_whose_time_has_no_part_of_a_millisecond(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    output = shown(monkeypatch, settled=1_700_000_001.2499).output
    [*_, last] = output.partition("\ntimeline (UTC)\n")[2].partition("\n\n")[0].splitlines()
    assert "dead after" in last


def test_json_for_programs_has_seconds_since_the_epoch(monkeypatch: pytest.MonkeyPatch) -> None:
    [told] = json.loads(shown(monkeypatch, "--json", "-").output)
    assert (told["entered"], told["settled"], told["topic"]) == (1_700_000_000.5, 1_700_000_003.0, "orders.in")


def test_a_rule_cannot_give_orders_by_check(tmp_path: Path) -> None:
    table = f'[[rules]]\nname = {json.dumps(EVIL)}\nafter = "source"\ndrop = {json.dumps(EVIL)}\n'
    (tmp_path / "routes.toml").write_text(table)
    done = CliRunner().invoke(cli, ["check", str(tmp_path / "routes.toml")])
    assert not OBEYED.search(done.output.replace("\n", ""))
    assert "\nerror: forged" not in done.output


def test_a_record_cannot_give_orders_by_explain(tmp_path: Path) -> None:
    table = '[[rules]]\nname = "all"\nafter = "source"\nmatch = { note = "x" }\ndrop = "no"\n'
    (tmp_path / "routes.toml").write_text(table)
    (tmp_path / "one.json").write_text(json.dumps({"note": EVIL}))
    done = CliRunner().invoke(cli, ["explain", str(tmp_path / "routes.toml"), str(tmp_path / "one.json")])
    assert "[red]a[/red]" in done.output
    assert not OBEYED.search(done.output.replace("\n", ""))
    assert "\nerror: forged" not in done.output


def test_every_command_prints_through_the_terminal() -> None:
    """`click.echo`, `print` and a console of rich would print what they are given."""
    folder = Path(str(metroline.app.cli.__file__)).parent
    for file in sorted(folder.glob("*.py")):
        if file.name in ("terminal.py", "console.py"):
            continue
        for node in ast.walk(ast.parse(file.read_text("utf-8"))):
            if isinstance(node, ast.Call):
                assert ast.unparse(node.func) not in (
                    "click.echo",
                    "click.secho",
                    "print",
                    "Console",
                    "sys.stderr.write",
                ), f"{file.name}:{node.lineno} prints by itself: use metroline.app.cli.terminal"


def test_what_a_console_prints_in_colour_is_whole_and_safe(capsys: pytest.CaptureFixture[str]) -> None:
    safe_console(width=40).print(f"different: {EVIL}", style="red", soft_wrap=True)
    assert f"different: {escaped_lines(EVIL)}\n" == capsys.readouterr().out


@pytest.fixture
def record() -> logging.LogRecord:
    try:
        raise ValueError(EVIL)
    except ValueError as error:
        failure = (type(error), error, error.__traceback__)
    return logging.LogRecord("metroline", logging.ERROR, __file__, 1, "stop %s failed", (EVIL,), failure)


def test_a_log_line_is_one_line_that_a_terminal_only_shows(record: logging.LogRecord) -> None:
    written = io.StringIO()
    handler = logging.StreamHandler(written)
    handler.setFormatter(LineFormatter(logging.Formatter("%(levelname)s: %(message)s")))
    handler.handle(record)
    first, *traceback = written.getvalue().split("\n")
    assert first == f"ERROR: stop {SHOWN} failed"
    assert traceback[0].startswith("Traceback")
    assert not OBEYED.search("".join(traceback))
    assert record.getMessage() == f"stop {EVIL} failed", "other handlers get it as it is"


def test_a_log_line_in_json_holds_the_same_and_a_terminal_only_shows_it(record: logging.LogRecord) -> None:
    line = JsonFormatter().format(record)
    assert not OBEYED.search(line)
    assert json.loads(line)["message"] == f"stop {EVIL} failed"
