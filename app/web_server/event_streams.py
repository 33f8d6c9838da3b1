"""Server-sent events: each listener gets the latest data once a second, for as long as it listens.

What a listener does not take in time is left out for it. Then it gets all data anew, so that a slow one costs nothing.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from http import HTTPStatus

from aiohttp.web import Request, StreamResponse

from metroline.app.web_server.answers import refusal

HEADERS = {
    "Content-Type": "text/event-stream; charset=utf-8",
    "Cache-Control": "no-store",
    "X-Accel-Buffering": "no",  # asks nginx and others not to hold events back
}

SNAPSHOT, UPDATE = "snapshot", "update"
"""The kinds of events: all data, and what differs from one second to the next."""

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Timing:
    """The times of streams, in seconds."""

    interval: float = 1.0
    """Time between two events."""
    comment: float = 15.0
    """Time between two comments, which keep proxies from ending a connection that is idle."""
    slow: float = 30.0
    """Time for which a listener may take nothing."""
    retry: float = 2.0
    """Time after which a browser connects again."""


@dataclass(frozen=True, slots=True)
class Data:
    """The latest data, in full and as an update of what a listener got a second ago."""

    full: bytes
    update: bytes


class EventStreams:
    """The listeners, and the task that reads the data once for all of them."""

    def __init__(self, read: Callable[[], Awaitable[Data]], most: int = 32, timing: Timing | None = None) -> None:
        """`read` returns the present data; there are at most `most` listeners."""
        self._read = read
        self._most = most
        self._timing = timing or Timing()
        self._listeners = 0
        self._data: Data | None = None
        self._number = 0
        """The number of times that data were read."""
        self._changed = asyncio.Condition()
        self._reading: asyncio.Task[None] | None = None
        self._is_ended = False

    async def answer(self, request: Request) -> StreamResponse:
        """Send events until the listener goes or the server ends; refuse it if there are too many."""
        if self._is_ended or self._listeners >= self._most:
            told = "the worker stops" if self._is_ended else f"{self._most} browsers listen already"
            return refusal(HTTPStatus.SERVICE_UNAVAILABLE, told, {"Retry-After": "5"})
        self._listeners += 1
        try:
            if self._reading is None:
                self._reading = asyncio.create_task(self._read_regularly())
            response = StreamResponse(headers=HEADERS)
            with suppress(ConnectionError):  # the listener has gone
                await response.prepare(request)
                await self._send(request, response)
            return response
        finally:
            self._listeners -= 1

    async def end(self) -> None:
        """End all streams."""
        self._is_ended = True
        if self._reading is not None:
            self._reading.cancel()
            with suppress(asyncio.CancelledError):
                await self._reading
        async with self._changed:
            self._changed.notify_all()

    async def _read_regularly(self) -> None:
        """Read data once in an interval while somebody listens."""
        try:
            while self._listeners:
                began = time.monotonic()
                try:
                    self._data = await self._read()
                except Exception:  # whatever it is, listeners see that nothing new comes
                    log.exception("the data for listeners could not be read")
                else:
                    self._number += 1
                    async with self._changed:
                        self._changed.notify_all()
                await asyncio.sleep(max(0.0, self._timing.interval - (time.monotonic() - began)))
        finally:
            self._reading = None
            self._data = None

    async def _send(self, request: Request, response: StreamResponse) -> None:
        try:
            await self._write(response, f"retry: {self._timing.retry * 1000:.0f}\n\n".encode())
            await self._send_latest(request, response)
        except TimeoutError:
            if request.transport is not None:
                request.transport.abort()

    async def _send_latest(self, request: Request, response: StreamResponse) -> None:
        """Send what is new, as long as the listener takes it; raise TimeoutError if it takes nothing for too long."""
        sent, commented_at = 0, time.monotonic()
        while not self._is_ended:
            await self._wait(sent)
            if request.transport is None or request.transport.is_closing():
                return
            if time.monotonic() - commented_at >= self._timing.comment:
                commented_at = time.monotonic()
                await self._write(response, b": still here\n\n")
            data, number = self._data, self._number
            if data is not None and number != sent:
                is_next = sent > 0 and number == sent + 1
                sent = number  # while it is on the way, others are left out
                await self._write(response, event(UPDATE, data.update) if is_next else event(SNAPSHOT, data.full))

    async def _write(self, response: StreamResponse, data: bytes) -> None:
        """Write data, and wait until the listener has taken most of what was written."""
        async with asyncio.timeout(self._timing.slow):
            await response.write(data)

    async def _wait(self, sent: int) -> None:
        """Wait until there are data after those that were sent, or for an interval."""
        with suppress(TimeoutError):
            async with asyncio.timeout(self._timing.interval), self._changed:
                await self._changed.wait_for(lambda: self._is_ended or (self._data is not None and self._number > sent))


def event(kind: str, data: bytes) -> bytes:
    """Return an event with data that are a single line, such as compact JSON."""
    return b"event: " + kind.encode() + b"\ndata: " + data + b"\n\n"
