"""Pre-commit runs what `make lint` runs, with the same tools."""

from __future__ import annotations

import re
from pathlib import Path

PROJECT = Path(__file__).parents[3]
MAKEFILE = (PROJECT / "Makefile").read_text("utf-8")
HOOKS = (PROJECT / ".pre-commit-config.yaml").read_text("utf-8")


def test_the_hooks_are_the_commands_of_make_lint() -> None:
    [recipe] = re.findall(r"^lint:.*\n((?:\t.+\n)+)", MAKEFILE, re.MULTILINE)
    commands = [line.strip().lstrip("@").replace("$(BIN)", ".venv/bin") for line in recipe.splitlines()]
    assert re.findall(r"^ +entry: (.+)$", HOOKS, re.MULTILINE) == commands


def test_every_hook_is_local_and_checks_the_whole_project() -> None:
    count = HOOKS.count("- id:")
    assert count
    assert re.findall(r"- repo: (.+)", HOOKS) == ["local"]
    assert HOOKS.count("language: system") == HOOKS.count("pass_filenames: false") == count
