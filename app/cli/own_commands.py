"""Commands that a person can copy from the terminal and run as they are."""

from __future__ import annotations

import shlex
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path


def metroline_command() -> list[str]:
    """Return the words with which this command is called: `metroline`, if that is what a shell finds."""
    return ["metroline"] if _is_found("metroline", Path(sys.executable).parent) else [sys.executable, "-m", "metroline"]


def python_command() -> list[str]:
    """Return the words with which this Python is called: `python`, if that is what a shell finds."""
    return ["python"] if _is_found("python", Path(sys.executable).parent) else [sys.executable]


def typed(*words: str, variables: Mapping[str, str] | None = None) -> str:
    """Return a command as it is typed into a shell, after the variables that are set for it alone."""
    assignments = [f"{name}={shlex.quote(value)}" for name, value in (variables or {}).items()]
    return " ".join([*assignments, shlex.join(words)])


def _is_found(program: str, folder: Path) -> bool:
    """Return whether a shell finds the program in this folder, and not another one of that name."""
    found = shutil.which(program)
    return found is not None and Path(found).absolute().parent == folder.absolute()
