"""`metroline completion`: the script of each shell, and what it is answered."""

from __future__ import annotations

import pytest
from click.testing import CliRunner

from metroline.app.cli import COMMANDS, cli
from metroline.app.cli.completion import SHELLS


@pytest.mark.parametrize("shell", SHELLS)
def test_a_script_names_the_command_and_its_variable(shell: str) -> None:
    printed = CliRunner().invoke(cli, ["completion", shell])
    assert (printed.exit_code, printed.stderr) == (0, "")
    assert f"_METROLINE_COMPLETE={shell}_complete" in printed.stdout
    assert "metroline" in printed.stdout


def completed(*words: str) -> list[str]:
    """Return what bash is answered for the last of these words."""
    variables = {
        "_METROLINE_COMPLETE": "bash_complete",
        "COMP_WORDS": " ".join(["metroline", *words]),
        "COMP_CWORD": str(len(words)),
    }
    answer = CliRunner().invoke(cli, [], prog_name="metroline", env=variables)
    return [line.partition(",")[2] for line in answer.stdout.splitlines()]


def test_commands_subcommands_options_and_files_are_completed() -> None:
    assert completed("") == list(COMMANDS)
    assert completed("dea") == ["dead-letters"]
    assert completed("rules", "h") == ["history"]
    assert completed("push", "--form") == ["--format"]
    assert completed("push", "--format", "c") == ["csv"]


def test_a_shell_that_is_not_known_is_refused_with_those_that_are() -> None:
    refused = CliRunner().invoke(cli, ["completion", "tcsh"])
    assert refused.exit_code == 2
    assert "'bash', 'zsh', 'fish'" in refused.stderr
