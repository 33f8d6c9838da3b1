"""Pages that list causes, strategies, commands, settings or verbs list all of them."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from metroline.app.cli import COMMANDS
from metroline.app.settings import Settings
from metroline.routing.outcome import Cause
from metroline.routing.strategies import STRATEGIES

PROJECT = Path(__file__).parents[3]
PAGES = {page.name: page.read_text("utf-8") for page in sorted((PROJECT / "docs").rglob("*.md"))}
MAKEFILE = (PROJECT / "Makefile").read_text("utf-8")
VERBS = set(re.findall(r"^([a-z][a-z-]*):.*  ## ", MAKEFILE, re.MULTILINE))
CODE = re.compile(r"```sh[^\n]*\n(.*?)```|`((?:make|metroline) [^`]+)`", re.DOTALL)


@pytest.mark.parametrize("cause", Cause)
def test_every_cause_is_in_the_table_of_dead_letters(cause: Cause) -> None:
    assert f"\n| `{cause}` |" in PAGES["dead-letters.md"]


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_every_strategy_is_described(strategy: str) -> None:
    assert f"\n| `{strategy}` |" in PAGES["strategies.md"]
    assert f"\n- **`{strategy}`**" in PAGES["strategies.md"] or f"**Start with `{strategy}`**" in PAGES["strategies.md"]


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_is_mentioned(command: str) -> None:
    pages = [*PAGES.values(), (PROJECT / "README.md").read_text("utf-8")]
    assert any(re.search(rf"(metroline|make) {command}\b", page) for page in pages)


@pytest.mark.parametrize("name", PAGES)
def test_a_page_names_only_verbs_and_commands_that_exist(name: str) -> None:
    code = "\n".join(block or inline for block, inline in CODE.findall(PAGES[name]))
    assert set(re.findall(r"(?:^|[ =])make ([a-z][a-z-]*)", code, re.MULTILINE)) <= VERBS
    assert set(re.findall(r"(?:^|[ =])metroline ([a-z][a-z-]*)", code, re.MULTILINE)) <= set(COMMANDS)


def test_the_pages_for_operators_name_only_settings_that_exist() -> None:
    settings = {name.upper() for name in Settings.model_fields}
    for name in ("deployment.md", "delivery.md", "security.md", "troubleshooting.md"):
        named = set(re.findall(r"`([A-Z]+_[A-Z_]+)(?:=[^`]*)?`", PAGES[name]))
        assert named - settings <= {"BASE_IMAGE", "SASL_SSL", "SASL_PLAINTEXT"}, name


def test_make_without_a_verb_lists_the_verbs() -> None:
    assert ".DEFAULT_GOAL := help" in MAKEFILE
    assert {"install", "install-dev", "test", "lint", "docs"} <= VERBS
