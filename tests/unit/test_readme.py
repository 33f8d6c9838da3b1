"""The README tells what there is: every setting with its default, every command, every address."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from metroline.app.cli import MODULES
from metroline.app.settings import Settings
from metroline.routing.strategies import STRATEGIES

README = (Path(__file__).parents[2] / "README.md").read_text("utf-8")


def shown(default: object) -> str:
    return f"`{default}`" if default not in ("", None) else "(none)"


@pytest.mark.parametrize("name", Settings.model_fields)
def test_every_setting_stands_in_the_table_with_its_default_and_what_it_says(name: str) -> None:
    field = Settings.model_fields[name]
    assert field.description, f"{name} has no description"
    assert f"| `{name.upper()}` | {shown(field.default)} | {' '.join(field.description.split())} |" in README


@pytest.mark.parametrize("command", MODULES)
def test_every_command_is_named(command: str) -> None:
    assert re.search(rf"(metroline|make) {command}\b", README)


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_every_strategy_is_in_the_table(strategy: str) -> None:
    assert f"| `{strategy}` |" in README


def test_nothing_is_left_to_be_filled_in() -> None:
    assert "<!--" not in README
