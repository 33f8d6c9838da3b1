"""The command `metroline`, run as a process."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.support.project import ROOT

COMMAND = [sys.executable, "-m", "metroline"]
TIMEOUT = 240.0


def metroline(*arguments: str, cwd: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run the command with these variables in its environment until it ends; fail after TIMEOUT seconds."""
    return subprocess.run(
        [*COMMAND, *arguments],
        cwd=cwd,
        env=_environment(variables),
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
        check=False,
    )


@contextmanager
def running(*arguments: str, cwd: Path, **variables: str) -> Iterator[subprocess.Popen[str]]:
    """Run the command while a test sends it signals and reads what it prints."""
    process = subprocess.Popen(
        [*COMMAND, *arguments],
        cwd=cwd,
        env=_environment(variables),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def _environment(variables: dict[str, str]) -> dict[str, str]:
    """Return the environment of this test with these variables."""
    return {**os.environ, "PYTHONPATH": str(ROOT), **variables}
