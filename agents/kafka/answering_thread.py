"""A thread of Faust that answers every call, also one that it cannot carry out since it ends."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

from mode.threads import QueueServiceThread


class ThreadEnded(Exception):
    """Raised when a thread ended before it carried out a call."""


class AnsweringThread(QueueServiceThread):
    """Carries out calls in its own event loop until it ends.

    Faust's own thread leaves a call unanswered that comes as it ends, and the caller would wait for ever: a worker that
    ends with an error still commits what it has acknowledged, while the error has ended the thread already.
    """

    abstract = True

    async def call_thread(self, fun: Callable[..., Awaitable[Any]], *args: Any, **kwargs: Any) -> Any:
        """Return the result of a function that is called in the thread; raise `ThreadEnded`."""
        if self._shutdown.is_set() or self.thread_loop.is_closed():
            raise ThreadEnded
        call = asyncio.ensure_future(super().call_thread(fun, *args, **kwargs))
        end = asyncio.ensure_future(self._shutdown.wait())
        try:
            await asyncio.wait([call, end], return_when=asyncio.FIRST_COMPLETED)
            if not call.done() or call.cancelled():
                raise ThreadEnded
            return call.result()
        finally:
            call.cancel()
            end.cancel()

    def on_crash(self, msg: str, *fmt: Any, **kwargs: Any) -> None:
        """Print nothing: `crash` passes the error on to who reports it."""

    def _start_thread(self) -> None:
        with suppress(Exception):  # as above
            super()._start_thread()

    def _stopped_set(self) -> None:
        with suppress(RuntimeError):  # the thread has ended already, and its event loop is closed
            super()._stopped_set()
