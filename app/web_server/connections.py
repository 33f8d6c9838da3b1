"""The connections to the web server: bounded in number, and each bounded in the time that it may take.

A connection is at work while a page answers a request. At any other time the other side has to act: send a whole
request, or read an answer. If it takes too long, it is cut off. So is the one that has waited longest, if there are too
many connections: a new request, such as a health check, always gets through.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from aiohttp.web import Application, AppRunner, BaseRequest, RequestHandler, Server, StreamResponse
from aiohttp.web_protocol import RequestPayloadError

from metroline.app.web_server.answers import phrase_of, refusal

SWEEP_SECONDS = 1.0
"""Time between two looks for connections that take too long."""

MAX_LINE_BYTES = 8 * 1024
"""Maximum size of the first line of a request, and of each header."""

MAX_HEADERS = 64

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Bounds:
    """The maximum number of connections, and the time that each may take, in seconds."""

    connections: int = 128
    request_seconds: float = 10.0
    """Time that a client has to send a whole request, from the beginning of a connection or from the last answer on."""
    answer_seconds: float = 30.0
    """Time that a client has to read an answer."""


class Connection(RequestHandler):
    """One connection."""

    def __init__(self, server: Connections, **settings: Any) -> None:
        """Take settings of aiohttp's `RequestHandler`."""
        super().__init__(server, **settings)
        self.waits_since = server.loop.time()
        """Time of the event loop from which on the other side has to act."""
        self.is_at_work = False

    @contextmanager
    def at_work(self) -> Iterator[None]:
        """Mark this connection as busy: the other side waits for an answer."""
        self.is_at_work = True
        try:
            yield
        finally:
            self.is_at_work = False
            self.waits_since = asyncio.get_running_loop().time()

    def log_exception(self, *args: Any, **details: Any) -> None:
        """Log a fault of this program. A body that cannot be read is one of the client, which has its answer."""
        if not isinstance(details.get("exc_info"), RequestPayloadError):
            super().log_exception(*args, **details)

    def handle_error(
        self, request: BaseRequest, status: int = 500, exc: BaseException | None = None, message: str | None = None
    ) -> StreamResponse:
        """Answer what is no HTTP request; log only what is a fault of this program.

        Errors of pages do not come here: the gate handles them.
        """
        if isinstance(exc, UnicodeError):  # aiohttp repeats a header `Expect`, of whatever bytes, in its own answer
            status = HTTPStatus.BAD_REQUEST
        if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            log.error("a request could not be answered", exc_info=exc)
        if request.writer is not None and request.writer.output_size > 0:
            raise ConnectionError("a part of the answer has been sent already")
        answer = refusal(status, "not a valid HTTP request" if status == HTTPStatus.BAD_REQUEST else phrase_of(status))
        answer.force_close()
        return answer


class Connections(Server):
    """Makes a `Connection` for each client, and cuts off those that take too long or are too many."""

    def __init__(self, server: Server, bounds: Bounds) -> None:
        """Take the place of a server of aiohttp."""
        super().__init__(server.request_handler, request_factory=server.request_factory)
        self.loop = asyncio.get_running_loop()
        self._bounds = bounds
        self._open: dict[Connection, asyncio.Transport] = {}
        self._sweep: asyncio.TimerHandle | None = None

    def __call__(self) -> Connection:
        """Return the protocol of a new connection."""
        return Connection(
            self,
            loop=self.loop,
            access_log=None,
            keepalive_timeout=self._bounds.request_seconds,
            lingering_time=self._bounds.request_seconds,
            max_line_size=MAX_LINE_BYTES,
            max_field_size=MAX_LINE_BYTES,
            max_headers=MAX_HEADERS,
        )

    def connection_made(self, handler: RequestHandler, transport: asyncio.Transport) -> None:
        """Count a connection, and make room for it."""
        super().connection_made(handler, transport)
        assert isinstance(handler, Connection)
        self._open[handler] = transport
        if len(self._open) > self._bounds.connections:
            waiting = (one for one in self._open if not one.is_at_work)
            self._cut_off(min(waiting, key=lambda one: one.waits_since))
        if self._sweep is None:
            self._sweep = self.loop.call_later(self._pause, self._cut_off_slow)

    def connection_lost(self, handler: RequestHandler, exc: BaseException | None = None) -> None:
        """Forget a connection."""
        super().connection_lost(handler, exc)
        if isinstance(handler, Connection):
            self._open.pop(handler, None)

    def _cut_off(self, connection: Connection) -> None:
        transport = self._open.pop(connection)
        connection.force_close()
        transport.abort()

    @property
    def _pause(self) -> float:
        return min(SWEEP_SECONDS, self._bounds.request_seconds / 4)

    def _cut_off_slow(self) -> None:
        now = self.loop.time()
        for connection, transport in list(self._open.items()):
            allowed = self._bounds.answer_seconds if transport.get_write_buffer_size() else self._bounds.request_seconds
            if not connection.is_at_work and now - connection.waits_since > allowed:
                self._cut_off(connection)
        self._sweep = self.loop.call_later(self._pause, self._cut_off_slow) if self._open else None

    async def shutdown(self, timeout: float | None = None) -> None:
        """Close all connections."""
        if self._sweep is not None:
            self._sweep.cancel()
        await super().shutdown(timeout)


class Runner(AppRunner):
    """Runs an aiohttp application on `Connections`."""

    def __init__(self, app: Application, bounds: Bounds, **settings: Any) -> None:
        """Take settings of aiohttp's `AppRunner`."""
        super().__init__(app, **settings)
        self._bounds = bounds

    async def _make_server(self) -> Server:
        return Connections(await super()._make_server(), self._bounds)
