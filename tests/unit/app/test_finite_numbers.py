"""Options that are numbers refuse texts that Python reads as numbers, but that count nothing."""

from __future__ import annotations

import pytest
from click.testing import CliRunner

from metroline.app.cli import cli


@pytest.mark.parametrize("value", ["nan", "inf"])
@pytest.mark.parametrize(
    "command",
    ["up --rate", "push --rate", "cost --rate", "cost --gather", "compare --seconds", "dead-letters replay --rate"],
)
def test_an_option_refuses_what_is_no_number(command: str, value: str) -> None:
    done = CliRunner().invoke(cli, [*command.split(), value])

    assert done.exit_code == 2
    assert f"Invalid value for '{command.split()[-1]}': " in done.stderr
