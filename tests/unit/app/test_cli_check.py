"""`metroline check`: its output for a table, with and without the services of its line."""

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
TABLE = '[[rules]]\nafter = "source"\nto = "price"\n'


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the folder of a line with its table, and restore the import path after the test."""
    monkeypatch.setattr(sys, "path", [*sys.path])
    (tmp_path / "routes.toml").write_text(TABLE)
    return tmp_path


def metroline(*arguments: str | Path) -> Result:
    return CliRunner().invoke(cli, list(map(str, arguments)))


def test_check_of_a_table_without_services_says_that_no_stop_was_checked(folder: Path) -> None:
    table = folder / "routes.toml"

    said = metroline("check", table)
    assert said.exit_code == 0
    assert "warning: there is no services.py beside routes.toml" in said.output
    assert "not checked against any services" in said.output

    (warning,) = json.loads(metroline("check", table, "--json", "-").output)["warnings"]
    assert "there is no services.py" in warning


def test_check_of_a_table_beside_its_services_holds_its_stops_against_them(folder: Path) -> None:
    table = folder / "routes.toml"
    (folder / "services.py").write_text(SERVICES)

    said = metroline("check", table)
    assert said.exit_code == 0
    assert "warning" not in said.output

    table.write_text(TABLE + '[[rules]]\nafter = "pirce"\nwen = "x"\ndrop = "too small"\n')
    refused = metroline("check", table)
    assert refused.exit_code == 1
    assert refused.stderr.splitlines() == [
        f"{table}:5: rule 2: no service serves the stop 'pirce' (served: price); did you mean 'price'?",
        f"{table}:6: rule 2: wen: unknown key; there are name, after, match, when, to, drop; did you mean 'when'?",
    ]


def test_check_of_a_folder_is_that_of_the_table_in_it(folder: Path) -> None:
    (folder / "services.py").write_text(SERVICES)
    assert metroline("check", folder).output == metroline("check", folder / "routes.toml").output

    (folder / "routes.toml").unlink()
    refused = metroline("check", folder)
    assert refused.exit_code == 2
    assert f"File '{folder}/routes.toml' does not exist" in refused.stderr


def test_check_lists_what_is_wrong_in_line_toml(folder: Path) -> None:
    (folder / "services.py").write_text(SERVICES)
    (folder / "line.toml").write_text("[sauce]\n[source]\ntopic = 5\n")

    refused = metroline("check", folder / "routes.toml")
    assert refused.exit_code == 2
    assert refused.stderr.splitlines() == [
        f"{folder}/line.toml:1: sauce: unknown key; there are source, schedules, ends, dead_letters; did you mean "
        "'source'?",
        f"{folder}/line.toml:3: source.topic: must be text",
    ]


def test_check_names_the_ends_that_a_rule_may_lead_to(folder: Path) -> None:
    (folder / "services.py").write_text(SERVICES)
    (folder / "line.toml").write_text('[ends.shipped]\ntopic = "orders.shipped"\n')
    table = folder / "routes.toml"
    table.write_text(TABLE + '[[rules]]\nafter = "price"\nto = "shipped"\n')
    said = metroline("check", table)
    assert (said.exit_code, said.output.splitlines()[1]) == (0, "price  ─ always ■ shipped")

    table.write_text(TABLE + '[[rules]]\nafter = "price"\nto = "shiped"\n')
    refused = metroline("check", table)
    assert refused.stderr.splitlines() == [
        f"{table}:6: rule 2: no service serves the stop 'shiped' (served: price; ends: end, shipped); did you mean "
        "'shipped'?"
    ]


def test_check_of_a_draft_warns_where_records_that_were_delivered_would_become_dead_letters(folder: Path) -> None:
    (folder / "services.py").write_text(SERVICES)
    draft = folder / "draft.toml"
    draft.write_text(TABLE + '[[rules]]\nafter = "price"\nwhen = "total > 5"\ndrop = "too large"\n')

    said = metroline("check", draft)

    assert said.exit_code == 0
    assert (
        "warning: after 'price', a record for which none of its rules holds is a dead letter (unroutable)"
        in said.output
    )
    assert "so far it was delivered" in said.output
    assert "warning" not in metroline("check", folder / "routes.toml").output


def test_check_says_where_in_the_lines_code_an_import_failed(folder: Path) -> None:
    (folder / "services.py").write_text(SERVICES.replace("@service", "@len(5)"))

    refused = metroline("check", folder / "routes.toml")

    assert refused.exit_code == 2
    assert "cannot be imported: TypeError: object of type 'int' has no len()" in refused.stderr
    assert refused.stderr.rstrip().endswith("(services.py:4)")


@pytest.mark.parametrize("raised", ["SystemExit(0)", "GeneratorExit", "__import__('asyncio').CancelledError()"])
@pytest.mark.parametrize("command", ["check", "test"])
def test_code_that_exits_while_it_is_imported_is_no_success(folder: Path, command: str, raised: str) -> None:
    (folder / "services.py").write_text(f"{SERVICES}\nraise {raised}\n")
    (folder / "cases.toml").write_text("[[cases]]\nrecord = { total = 1 }\n")

    refused = metroline(command, folder)

    assert refused.exit_code == 2
    assert "services.py cannot be imported: " in refused.stderr
    assert refused.stderr.count("\n") == 1


TYPED = """
from typing import Literal, TypedDict
from metroline import service

class Order(TypedDict):
    amount: float
    country: str

class Priced(TypedDict):
    total: float
    state: Literal["open", "paid"]

@service
def price(order: Order) -> Priced: ...

class Shipped(TypedDict):
    total: str

@service
def ship(order: Shipped): ...
"""


def test_check_compares_what_rules_read_with_the_types_that_services_declare(folder: Path) -> None:
    (folder / "services.py").write_text(TYPED)
    (folder / "routes.toml").write_text("""
        [[rules]]
        name = "a number"
        after = "source"
        match = { country = 49 }
        to = "price"
        [[rules]]
        name = "as declared"
        after = "source"
        match = { country = ["DE", "AT"], amount = 1 }
        when = "weight > 3 && amount > 2.0"
        to = "price"
        [[rules]]
        name = "misspelt"
        after = "price"
        match = { state = true }
        when = "totl > 3"
        to = "ship"
        """)
    said = metroline("check", folder / "routes.toml")
    assert said.exit_code == 0
    assert [line for line in said.output.splitlines() if line.startswith("warning")] == [
        "warning: rule 'a number' matches 'country' with a number, but the service 'price' takes it as string",
        "warning: rule 'misspelt' reads 'totl', which no service of the line declares: is 'total' meant?",
        "warning: rule 'misspelt' matches 'state' with a boolean, but the service 'price' returns it as string",
        "warning: rule 'misspelt' sends what 'price' returns to 'ship': the first declares 'total' as number, the "
        "second as string",
    ]


def test_check_names_the_schedules_and_when_each_is_due_next(folder: Path) -> None:
    (folder / "services.py").write_text(SERVICES)
    (folder / "line.toml").write_text('[schedules.yearly]\ncron = "0 12 1 1 *"\ntimezone = "Europe/Berlin"\n')

    said = metroline("check", folder)
    assert said.exit_code == 0
    assert "schedule yearly: 0 12 1 1 * (Europe/Berlin), next at 2" in said.output

    [schedule] = json.loads(metroline("check", folder, "--json", "-").output)["schedules"]
    assert (schedule["name"], schedule["cron"], schedule["timezone"]) == ("yearly", "0 12 1 1 *", "Europe/Berlin")
    assert schedule["next"].endswith("-01-01T12:00:00+01:00")

    (folder / "line.toml").write_text('[schedules.yearly]\ncron = "0 25 * * *"\n')
    refused = metroline("check", folder)
    assert refused.exit_code != 0
    assert "line.toml:2: schedules.yearly.cron: '0 25 * * *' is no crontab expression" in refused.stderr
