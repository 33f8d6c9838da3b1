"""Runs blocking functions in threads, so that they do not stop the event loop."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from threading import Thread
from typing import Any


class ThreadRunner:
    """Starts a thread for each call, and limits the number of abandoned threads.

    The thread of a cancelled call is abandoned: it runs to its end, since no thread can be stopped from outside.
    """

    def __init__(self, max_abandoned: int) -> None:
        """`max_abandoned` is the number of running abandoned threads at which new calls wait for one to end."""
        self._max_abandoned = max_abandoned
        self._abandoned = 0
        self._room = asyncio.Event()
        self._room.set()

    async def run(self, function: Callable[[Any], Any], argument: Any) -> Any:
        """Call a function in a thread; return what it returns, or raise what it raises."""
        while self._abandoned >= self._max_abandoned:
            self._room.clear()
            await self._room.wait()
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[Any] = loop.create_future()

        def run() -> None:
            try:
                result, error = function(argument), None
            except BaseException as raised:  # noqa: BLE001 - the caller gets every exception, even SystemExit
                result, error = None, raised
            try:
                loop.call_soon_threadsafe(self._ended, answer, result, error)
            except RuntimeError:  # the event loop was closed in the meantime
                return

        Thread(target=run, daemon=True).start()
        try:
            return await answer
        except asyncio.CancelledError:
            if not answer.done() or answer.cancelled():
                self._abandoned += 1
            raise

    def _ended(self, answer: asyncio.Future[Any], result: Any, error: BaseException | None) -> None:
        if answer.cancelled():
            self._abandoned -= 1
            self._room.set()
        elif error is None:
            answer.set_result(result)
        else:
            answer.set_exception(RuntimeError(str(error)) if isinstance(error, StopIteration) else error)
