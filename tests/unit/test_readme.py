"""The README tells what there is: every command, every strategy. Settings have a page of their own in docs/."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from metroline.app.cli import MODULES
from metroline.routing.strategies import STRATEGIES

README = (Path(__file__).parents[2] / "README.md").read_text("utf-8")


@pytest.mark.parametrize("command", MODULES)
def test_every_command_is_named(command: str) -> None:
    assert re.search(rf"(metroline|make) {command}\b", README)


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_every_strategy_is_in_the_table(strategy: str) -> None:
    assert f"| `{strategy}` |" in README


def test_nothing_is_left_to_be_filled_in() -> None:
    assert "<!--" not in README
