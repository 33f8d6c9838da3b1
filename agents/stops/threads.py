"""Runs plain functions that wait for something in threads, so that they do not stop the event loop."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from threading import Thread
from typing import Any


class ThreadRunner:
    """A thread for each call; one that is given up goes on to its end, and only so many of those may be there."""

    def __init__(self, max_abandoned: int) -> None:
        self._most = max_abandoned
        self._given_up = 0
        self._room = asyncio.Event()
        self._room.set()

    async def run(self, function: Callable[[Any], Any], argument: Any) -> Any:
        """What the function returns or raises; a cancelled call gives its thread up, since no thread can be ended."""
        while self._given_up >= self._most:
            self._room.clear()
            await self._room.wait()
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[Any] = loop.create_future()

        def run() -> None:
            try:
                result, error = function(argument), None
            except BaseException as raised:  # noqa: BLE001 - handed to who waits, SystemExit too
                result, error = None, raised
            try:
                loop.call_soon_threadsafe(self._ended, answer, result, error)
            except RuntimeError:  # the loop has ended meanwhile
                return

        Thread(target=run, daemon=True).start()
        try:
            return await answer
        except asyncio.CancelledError:
            if not answer.done() or answer.cancelled():
                self._given_up += 1
            raise

    def _ended(self, answer: asyncio.Future[Any], result: Any, error: BaseException | None) -> None:
        if answer.cancelled():
            self._given_up -= 1
            self._room.set()
        elif error is None:
            answer.set_result(result)
        else:
            answer.set_exception(RuntimeError(str(error)) if isinstance(error, StopIteration) else error)
