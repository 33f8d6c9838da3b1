"""Checks rules tables while somebody types, in a process that stays for a while: a check takes a processor."""

from __future__ import annotations

import asyncio
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import Collection
from contextlib import suppress

import msgspec

from metroline.app.operations.rules_process import NoAnswer, RulesBusy
from metroline.app.operations.table_checks import LENGTH, Found, Request

SECONDS = 15.0
"""Time that a check may take, with the start of the process."""

IDLE_SECONDS = 60.0
"""Time after the last check at which the process ends."""

MAX_WAITING = 8
"""Number of checks that may wait for their turn."""

MODULE = "metroline.app.operations.table_checks"


class TableChecker:
    """Checks one table after another. Its process begins with the first check, and ends when there are no more."""

    def __init__(self, seconds: float = SECONDS, idle_seconds: float = IDLE_SECONDS) -> None:
        """Take the time that a check has, and after which the process ends."""
        self._seconds = seconds
        self._idle_seconds = idle_seconds
        self._process: Process | None = None
        self._turn = asyncio.Lock()
        self._waiting = 0
        self._end: asyncio.TimerHandle | None = None

    @property
    def pid(self) -> int | None:
        """The number of the process; None while there is none."""
        process = self._process
        return None if process is None or process.returncode is not None else process.pid

    async def check(
        self, table: str, served: Collection[str], ends: Collection[str], last: Collection[str] = ()
    ) -> Found:
        """Return the problems of a table.

        Raise `RulesBusy` if too many tables wait to be checked, and `NoAnswer` if it takes too long.
        """
        if self._waiting >= MAX_WAITING:
            raise RulesBusy("too many tables are being checked: try again in a moment")
        request = msgspec.json.encode(Request(table, sorted(served), sorted(ends), sorted(last)))
        self._waiting += 1
        try:
            async with self._turn:
                return msgspec.json.decode(await self._answer(request), type=Found)
        finally:
            self._waiting -= 1

    async def close(self) -> None:
        """End the process."""
        if self._end is not None:
            self._end.cancel()
        process, self._process = self._process, None
        if process is not None:
            await _ended(process)

    async def _answer(self, request: bytes) -> bytes:
        if self._end is not None:
            self._end.cancel()
        is_answered = False
        try:
            async with asyncio.timeout(self._seconds):
                answer = await self._exchange(request)
                is_answered = True
                return answer
        except TimeoutError:
            raise NoAnswer(f"the check took longer than {self._seconds:g} s") from None
        except (asyncio.IncompleteReadError, ConnectionError):
            raise NoAnswer("the process that checks tables has ended: try again") from None
        finally:
            if is_answered:
                self._end = asyncio.get_running_loop().call_later(self._idle_seconds, self._leave)
            else:  # what it answers now would be taken for the answer to the next request
                await self.close()

    async def _exchange(self, request: bytes) -> bytes:
        process = self._process
        if process is None or process.returncode is not None:
            process = await asyncio.create_subprocess_exec(sys.executable, "-m", MODULE, stdin=PIPE, stdout=PIPE)
            self._process = process
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(len(request).to_bytes(LENGTH, "big") + request)
        await process.stdin.drain()
        head = await process.stdout.readexactly(LENGTH)
        return await process.stdout.readexactly(int.from_bytes(head, "big"))

    def _leave(self) -> None:
        """Let the process end: it has nothing more to read."""
        process, self._process = self._process, None
        if process is not None and process.stdin is not None:
            process.stdin.close()


async def _ended(process: Process) -> None:
    with suppress(ProcessLookupError):
        process.kill()
    await process.wait()
