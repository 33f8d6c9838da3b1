"""The command `metroline`, run as a process: forked where only its result matters, and as a user starts it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO

from tests.support.forks.client import ForkedProcess
from tests.support.project import ROOT

COMMAND = [sys.executable, "-m", "metroline"]
TIMEOUT = 240.0


def metroline(*arguments: str, cwd: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run the command with these variables in its environment until it ends; fail after TIMEOUT seconds."""
    with TemporaryFile() as output, TemporaryFile() as errors:
        process = ForkedProcess(arguments, cwd, _environment(variables), output, errors)
        try:
            process.wait(TIMEOUT)
        finally:
            process.kill()
            code = process.wait()
        return subprocess.CompletedProcess(arguments, code, _text(output), _text(errors))


@contextmanager
def running(*arguments: str, cwd: Path, **variables: str) -> Iterator[subprocess.Popen[str]]:
    """Run the command as a user does, while a test sends it signals and reads what it prints."""
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


def _text(file: IO[bytes]) -> str:
    file.seek(0)
    return file.read().decode()


def _environment(variables: dict[str, str]) -> dict[str, str]:
    """Return the environment of this test with these variables."""
    return {**os.environ, "PYTHONPATH": str(ROOT), **variables}
