"""`explain` calls the services of a line, async ones too, and says which it could not call."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from metroline.app.cli import cli

SERVICES = """
from metroline import service

@service
def price(record):
    record["total"] = record["amount"] * 2
    return record
"""
ASYNC = """
import asyncio
from metroline import service

loops = []

@service(reads=["amount"])
async def price(record):
    loops.append(asyncio.get_running_loop())
    await asyncio.sleep(0)
    return {"total": record["amount"] * 2}

@service(timeout=0.01)
async def ship(record, id, meta):
    await asyncio.sleep(record.get("seconds", 0))
    record["same_loop"] = asyncio.get_running_loop() is loops[-1]
    return record
"""
LOOKS_UP = """
from metroline import lookup, service

names = lookup("names")

@service
def price(record):
    return record

@service
async def ship(record):
    record["name"] = names[record["amount"]]
    return record
"""
TABLE = '[[rules]]\nafter = "source"\nto = "price"\n'
LONGER = TABLE + '[[rules]]\nafter = "price"\nto = "ship"\n'


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the folder of a line with its table, and restore the import path after the test."""
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.setenv("LOOKUP_DIR", str(tmp_path / "lookups"))
    (tmp_path / "routes.toml").write_text(TABLE)
    return tmp_path


def metroline(*arguments: str | Path) -> Result:
    return CliRunner().invoke(cli, list(map(str, arguments)))


def explained(folder: Path, record: str, *options: str) -> Result:
    (folder / "record.json").write_text(record)
    said = metroline("explain", folder / "routes.toml", folder / "record.json", "--line", folder, *options)
    assert said.exit_code == 0
    return said


def test_explain_says_where_in_services_py_a_service_raised(folder: Path) -> None:
    (folder / "services.py").write_text(SERVICES)
    (folder / "record.json").write_text('{"total": 5}')

    said = metroline("explain", folder / "routes.toml", folder / "record.json", "--line", folder)

    assert said.exit_code == 0
    assert said.output.rstrip().endswith("→ dead: service_error: KeyError: 'amount' (services.py:6 in price)")


def test_explain_hands_a_service_what_it_reads_and_lays_what_it_made_over_the_record(folder: Path) -> None:
    (folder / "services.py").write_text(
        "from metroline import service\n\n\n"
        '@service(reads=["amount"])\n'
        "def price(record):\n"
        "    assert list(record) == ['amount']\n"
        "    return {'total': record['amount'] * 2}\n"
    )
    (folder / "record.json").write_text('{"amount": 5, "kept": true}')
    with (folder / "routes.toml").open("a") as table:
        table.write('[[rules]]\nafter = "price"\n')
        table.write('when = "amount == null && kept && total == 10"\ndrop = "as it must be"\n')

    said = metroline("explain", folder / "routes.toml", folder / "record.json", "--line", folder)

    assert said.exit_code == 0
    assert said.output.rstrip().endswith("→ dropped: as it must be")


def test_explain_calls_async_services_in_one_event_loop(folder: Path) -> None:
    (folder / "services.py").write_text(ASYNC)
    (folder / "routes.toml").write_text(LONGER)

    said = explained(folder, '{"amount": 5, "kept": true}')

    assert said.stdout.splitlines() == [
        *("after source", "  ✔ rule 1: holds", "  → price"),
        *("after price", "  sets total=10", "  removes amount", "  ✔ rule 2: holds", "  → ship"),
        *("after ship", "  sets same_loop=true", "  → delivered"),
    ]


def test_explain_says_that_an_async_service_did_not_answer_or_raised(folder: Path) -> None:
    (folder / "services.py").write_text(ASYNC)
    (folder / "routes.toml").write_text(LONGER)

    slow = explained(folder, '{"amount": 5, "seconds": 60}')
    attempts = "".join(f"  attempt {number} of 5: timeout: no answer within 0.01 s\n" for number in range(1, 6))
    assert slow.stdout.endswith(f"after ship\n{attempts}  → dead: timeout: no answer within 0.01 s\n")
    raised = explained(folder, "{}")
    assert raised.stdout.rstrip().endswith("→ dead: service_error: KeyError: 'amount' (services.py:11 in price)")


def test_explain_goes_on_up_to_the_service_that_reads_a_missing_lookup(folder: Path) -> None:
    (folder / "services.py").write_text(LOOKS_UP)
    (folder / "routes.toml").write_text(LONGER)

    said = explained(folder, '{"amount": 5}')
    problem = f"there is no lookup 'names' in {folder / 'lookups'}: build it with `metroline lookup build names"
    assert said.stderr.startswith(f"warning: {problem}")
    assert f"  → ship\nafter ship\n  → unknown: the service could not be called: {problem}" in said.stdout

    [way] = json.loads(explained(folder, '{"amount": 5}', "--json", "-").stdout)
    last = way["steps"][-1]
    assert last["verdict"].startswith("unknown: the service could not be called: there is no lookup 'names'")


ONE = "after source\n  ✔ rule 1: holds\n  → price\nafter price\n  sets total={}\n  → delivered\n"
FIVE = ONE.format(10)


@pytest.mark.parametrize(
    ("name", "text", "shown"),
    [
        ("pretty.json", '{\n  "amount": 5\n}\n', FIVE),
        ("one.csv", "amount\n5\n", FIVE),
        ("one.tsv", "amount\tsku\n5\ta\n", FIVE),
        ("some.json", '[{"amount": 5},\n{"amount": 6}]', f"record 1, line 1\n{FIVE}record 2, line 2\n{ONE.format(12)}"),
        ("some.jsonl", '{"amount": 5}\n\n{"amount": 6}', f"record 1, line 1\n{FIVE}record 2, line 3\n{ONE.format(12)}"),
    ],
)
def test_explain_takes_every_file_of_records(folder: Path, name: str, text: str, shown: str) -> None:
    (folder / "services.py").write_text(SERVICES)
    (folder / name).write_text(text)
    assert metroline("explain", folder, folder / name, "--line", folder).stdout == shown


def test_explain_reads_the_standard_input(folder: Path) -> None:
    (folder / "services.py").write_text(SERVICES)
    arguments = ["explain", str(folder), "-", "--line", str(folder)]
    assert CliRunner().invoke(cli, arguments, input='{"amount": 5}').stdout == FIVE
    as_text = CliRunner().invoke(cli, [*arguments, "--format", "csv", "--text"], input="amount\n5\n")
    assert as_text.stdout == ONE.format('"55"')


def test_explain_goes_by_the_settings_of_the_line(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "services.py").write_text(SERVICES)
    monkeypatch.setenv("SERVICE_ATTEMPTS", "2")
    assert "attempt 2 of 2: service_error: KeyError" in explained(folder, "{}").stdout
    (folder / "routes.toml").write_text(TABLE + '[[rules]]\nafter = "price"\nto = "price"\n')
    monkeypatch.setenv("MAX_HOPS", "70")
    assert "dead: too_many_hops: 70 stops visited" in explained(folder, '{"amount": 5}').stdout


def test_a_line_that_is_no_record_is_explained_as_the_dead_letter_that_it_becomes(folder: Path) -> None:
    (folder / "services.py").write_text(SERVICES)
    assert explained(folder, "{").stdout.startswith("after source\n  → dead: malformed_record: not valid JSON")
    (folder / "empty.json").write_text("\n")
    assert metroline("explain", folder, folder / "empty.json").stderr == (
        "error: there are no records to explain: the file is empty\n"
    )


def test_explain_takes_the_key_and_the_headers_of_the_message(folder: Path) -> None:
    (folder / "routes.toml").write_text(
        '[[rules]]\nafter = "source"\nwhen = "meta.key == \\"k\\" && meta.timestamp > 0"\ndrop = "known"\n'
        '[[rules]]\nafter = "source"\nwhen = "meta.headers[\\"type\\"] == \\"order\\""\ndrop = "order"\n'
    )
    (folder / "one.json").write_text("{}")
    assert metroline("explain", folder, folder / "one.json", "--key", "k").stdout.endswith("→ dropped: known\n")
    typed = metroline("explain", folder, folder / "one.json", "--header", "type=order")
    assert typed.stdout.endswith("→ dropped: order\n")
    assert metroline("explain", folder, folder / "one.json", "--header", "type").exit_code == 2


def test_no_text_of_a_record_or_a_service_is_obeyed_by_the_terminal(folder: Path) -> None:
    (folder / "services.py").write_text(
        "from metroline import Drop, service\n\n\n@service\ndef price(record):\n"
        "    return record | {'\\x1b[31m': '\\x9b2J'} if record else Drop('\\x1b]8;;http://x\\x07 a\\n→ delivered')\n"
    )
    for record in ('{"a": 1}', "{}"):
        shown = explained(folder, record).stdout
        assert not any(letter in shown for letter in "\x1b\x9b\x07")
    assert [line[:12] for line in shown.splitlines() if line.startswith("  → ")] == ["  → price", "  → dropped:"]


def test_explain_without_a_line_says_that_no_service_was_called(folder: Path) -> None:
    (folder / "record.json").write_text("{}")
    said = metroline("explain", folder / "routes.toml", folder / "record.json")
    assert said.stdout.endswith("after price\n  → delivered\n")
    assert said.stderr == "no service was called: name the line with --line to call its services\n"
