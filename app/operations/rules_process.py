"""Runs commands about a rules table in a process of its own: they take a processor, which the worker's loop needs."""

from __future__ import annotations

import asyncio
import sys
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

from metroline.routing.errors import MetrolineError

SECONDS = 60.0
"""Time after which a command is ended."""

FILE = "table.toml"
"""The name of the file that holds the table."""


class RulesBusy(MetrolineError):
    """Raised when another table is being looked at already."""


class NoAnswer(MetrolineError):
    """Raised when a command could not do its work; the text says why."""


class RulesProcess:
    """Runs `metroline rules` for one request at a time, with the settings of this process."""

    def __init__(self, line: str, seconds: float = SECONDS) -> None:
        """Take the name of the line, and the time that a command has."""
        self._line = line
        self._seconds = seconds
        self._turn = asyncio.Lock()

    @asynccontextmanager
    async def turn(self, *, is_patient: bool = False) -> AsyncIterator[None]:
        """Take the turn for all that one request asks about a table.

        If another one has it, wait if `is_patient`, and raise `RulesBusy` otherwise.
        """
        if self._turn.locked() and not is_patient:
            raise RulesBusy("another table is being looked at: try again in a moment")
        async with self._turn:
            yield

    async def ask(self, command: str, text: str, *options: str) -> bytes:
        """Return the JSON that `metroline rules COMMAND` writes about a table, for whoever has the turn.

        Raise `NoAnswer` if the command fails or takes too long.
        """
        with tempfile.TemporaryDirectory(prefix="metroline-") as folder:
            (Path(folder) / FILE).write_text(text, "utf-8")
            return await self._run(command, str(Path(folder) / FILE), *options)

    async def _run(self, command: str, file: str, *options: str) -> bytes:
        words = ("-m", "metroline", "rules", command, file, "--line", self._line, "--json", "-", *options)
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            *words,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        try:
            answer, complaint = await asyncio.wait_for(process.communicate(), self._seconds)
        except TimeoutError:
            raise NoAnswer(f"it took longer than {self._seconds:g} s") from None
        finally:
            with suppress(ProcessLookupError):
                process.kill()
            await process.wait()
        if process.returncode != 0 or not answer:
            lines = complaint.decode(errors="replace").strip().splitlines() or ["the command said nothing"]
            raise NoAnswer(lines[-1].removeprefix("error: "))
        return answer
