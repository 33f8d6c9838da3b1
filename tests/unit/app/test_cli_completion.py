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
    return [value for _, _, value in (line.partition(",") for line in answer(*words))]


def kinds(*words: str) -> list[str]:
    """Return what the last of these words is, as bash is told: `file` or `dir`, which it completes itself."""
    return [kind for kind, _, _ in (line.partition(",") for line in answer(*words))]


def answer(*words: str) -> list[str]:
    variables = {
        "_METROLINE_COMPLETE": "bash_complete",
        "COMP_WORDS": " ".join(["metroline", *words]),
        "COMP_CWORD": str(len(words)),
    }
    return CliRunner().invoke(cli, [], prog_name="metroline", env=variables).stdout.splitlines()


def test_commands_subcommands_options_and_files_are_completed() -> None:
    assert completed("") == list(COMMANDS)
    assert completed("dea") == ["dead-letters"]
    assert completed("rules", "h") == ["history"]
    assert completed("push", "--form") == ["--format"]
    assert completed("push", "--format", "c") == ["csv"]
    assert kinds("check", "") == kinds("push", "--records", "") == ["file"]
    assert kinds("push", "--line", "") == ["dir"]


def test_a_shell_that_is_not_known_is_refused_with_those_that_are() -> None:
    refused = CliRunner().invoke(cli, ["completion", "tcsh"])
    assert refused.exit_code == 2
    assert "'bash', 'zsh', 'fish'" in refused.stderr
