"""`metroline test` tells which cases failed and how, by table, JSON, JUnit and exit code, and updates them."""

from __future__ import annotations

import errno
import json
import os
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest
from click.testing import CliRunner, Result

from metroline.app.cli import cli

SERVICES = """
from metroline import Drop, service

@service
def price(order):
    order["total"] = order["quantity"] * 50
    return order

@service
def ship(order):
    return order if order["address"] else Drop("no address")
"""
RULES = """
[[rules]]
after = "source"
to = "price"

[[rules]]
after = "price"
when = "total >= 100"
to = "ship"

[[rules]]
after = "price"
drop = "too small"
"""
CASES = """
[[cases]]
name = "large orders are shipped"
record = { quantity = 3, address = "1 Main St" }
stops = ["price", "ship"]
outcome = "delivered"
changes = { total = 150 }

[[cases]]
name = "small ones are not"  # for now
record = { quantity = 1 }
outcome = "dropped"
reason = "too small"
"""


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the folder of a line with two cases."""
    monkeypatch.setattr(sys, "path", [*sys.path])
    (tmp_path / "services.py").write_text(SERVICES)
    (tmp_path / "routes.toml").write_text(RULES)
    (tmp_path / "cases.toml").write_text(CASES)
    return tmp_path


def metroline_test(*arguments: str | Path) -> Result:
    return CliRunner().invoke(cli, ["test", *map(str, arguments)])


def test_cases_that_pass_are_listed_and_the_exit_code_is_0(shop: Path) -> None:
    said = metroline_test(shop)
    assert said.exit_code == 0, said.output
    lines = [line.split() for line in said.output.splitlines()]
    assert ["passed", *["large", "orders", "are", "shipped", "price", "→", "ship", "delivered"]] in lines
    assert ["passed", *["small", "ones", "are", "not", "price", "dropped:", "too", "small"]] in lines
    assert said.output.splitlines()[-1] == "2 cases under 4 strategies: all passed"


def test_a_case_that_fails_shows_its_line_its_differences_and_its_journey(shop: Path) -> None:
    (shop / "routes.toml").write_text(RULES.replace("100", "200"))
    said = metroline_test(shop)
    assert said.exit_code == 1
    output = said.output
    assert f"{shop / 'cases.toml'}:2: large orders are shipped\n" in output
    assert "  stops: expected price → ship, was price\n" in output
    assert "  outcome: expected delivered, was dropped\n" in output
    assert "    price  → dropped: too small  (rule 3)\n" in output
    assert output.count("source → price  (rule 1)") == 1, "once for all strategies that agree"
    assert output.splitlines()[-1] == "2 cases under 4 strategies: 1 failed"


def test_an_update_writes_what_is_so_that_the_cases_pass(shop: Path) -> None:
    (shop / "routes.toml").write_text(RULES.replace("100", "50"))
    said = metroline_test(shop, "--update")
    assert said.exit_code == 0, said.output
    assert f"{shop / 'cases.toml'} is updated" in said.output
    updated = (shop / "cases.toml").read_text()
    assert '"small ones are not"  # for now\n' in updated
    assert 'outcome = "dead"\nreason = "service_error: KeyError"\n' in updated
    assert metroline_test(shop).exit_code == 0
    (shop / "cases.toml").chmod(0o400)
    assert metroline_test(shop, "--update").exit_code == 0, "nothing is written where nothing failed"


def test_an_update_that_cannot_be_written_leaves_the_cases_as_they_are(
    shop: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(source: str, target: Path) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    cases = shop / "cases.toml"
    cases.write_text(cases.read_text().replace("150", "151"))
    before = sorted(file.name for file in shop.iterdir()), cases.read_text()
    monkeypatch.setattr(os, "replace", full)
    ended = metroline_test(shop, "--update")
    assert ended.exit_code == 2
    assert "cases.toml cannot be written: No space left on device" in ended.output
    assert (sorted(file.name for file in shop.iterdir()), cases.read_text()) == before


def test_an_update_of_a_link_writes_the_file_that_it_leads_to(shop: Path) -> None:
    cases, kept = shop / "cases.toml", shop / "kept.toml"
    kept.write_text(cases.read_text().replace("150", "151"))
    kept.chmod(0o640)
    cases.unlink()
    cases.symlink_to(kept)
    assert metroline_test(shop, "--update").exit_code == 0
    assert cases.is_symlink()
    assert "150" in kept.read_text()
    assert kept.stat().st_mode & 0o777 == 0o640


def test_files_may_begin_with_a_byte_order_mark_as_editors_on_windows_write_them(shop: Path) -> None:
    (shop / "line.toml").write_text('[source]\ntopic = "orders"\n')
    for name in ("routes.toml", "line.toml", "cases.toml"):
        (shop / name).write_text((shop / name).read_text(), "utf-8-sig")
    (shop / "cases.toml").write_text(CASES.replace("150", "151"), "utf-8-sig")
    assert metroline_test(shop, "--update").exit_code == 0
    assert metroline_test(shop, "--rules", shop / "routes.toml").exit_code == 0
    assert CliRunner().invoke(cli, ["check", str(shop)]).exit_code == 0


def test_junit_and_json_have_each_case_under_each_strategy(shop: Path) -> None:
    said = metroline_test(shop, "--junit", shop / "results.xml", "--json", "-", "--strategies", "signpost,conductor")
    results = json.loads(said.output)
    assert [(one["strategy"], one["passed"]) for one in results] == [("signpost", True), ("conductor", True)] * 2
    assert results[0]["journey"]["stops"] == ["price", "ship"]
    root = ElementTree.parse(shop / "results.xml").getroot()
    assert root.attrib["tests"] == "4"


@pytest.mark.parametrize("command", ["test", "explain"])
def test_what_services_print_is_not_among_the_json(shop: Path, command: str) -> None:
    services = (shop / "services.py").read_text()
    (shop / "services.py").write_text(
        'print("loaded")\n' + services.replace("    return order", '    print("works")\n    return order', 1)
    )
    (shop / "record.json").write_text('{"quantity": 3, "address": "1 Main St"}')
    more = [str(shop)] if command == "test" else [str(shop), str(shop / "record.json"), "--line", str(shop)]

    said = CliRunner().invoke(cli, [command, *more, "--json", "-"])

    assert said.exit_code == 0
    assert isinstance(json.loads(said.stdout), list)
    assert {"loaded", "works"} <= set(said.stderr.splitlines())


def test_cases_are_chosen_by_their_names(shop: Path) -> None:
    said = metroline_test(shop, "--case", "small")
    assert said.output.splitlines()[-1] == "1 case under 4 strategies: all passed"
    refused = metroline_test(shop, "--case", "tiny")
    assert refused.exit_code == 2
    assert "error: --case tiny: no case in " in refused.output


def test_another_table_is_tested_before_it_is_published(shop: Path) -> None:
    (shop / "stricter.toml").write_text(RULES.replace("100", "1000"))
    assert metroline_test(shop, "--rules", shop / "stricter.toml").exit_code == 1


@pytest.mark.parametrize(
    ("text", "error"),
    [
        (None, "cases.toml is missing: create it"),
        ("[[cases]]\nrecrod = {}\n", "cases.toml:2: cases 1.recrod: unknown key"),
        ("[[cases]\n", "cases.toml:1:8: not valid TOML"),
    ],
)
def test_cases_that_cannot_be_used_are_wrong_use(shop: Path, text: str | None, error: str) -> None:
    (shop / "cases.toml").unlink()
    if text is not None:
        (shop / "cases.toml").write_text(text)
    said = metroline_test(shop)
    assert said.exit_code == 2
    assert error in said.output


def test_a_line_that_does_not_exist_is_wrong_use(shop: Path) -> None:
    said = metroline_test(shop / "nowhere")
    assert said.exit_code == 2
    assert "error: there is no line" in said.output


def test_the_line_may_be_named_by_the_environment(shop: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert metroline_test().exit_code == 2
    monkeypatch.setenv("LINE", str(shop))
    assert metroline_test().exit_code == 0


@pytest.mark.parametrize("line", ["metrobus", "flights"])
def test_the_example_lines_pass_their_own_cases(line: str) -> None:
    said = metroline_test(f"metroline.agents.lines.{line}")
    assert said.exit_code == 0, said.output
