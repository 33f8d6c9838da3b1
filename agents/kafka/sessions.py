"""Ends the connections of aiokafka before the brokers do, where a login holds only for a time (KIP-368).

With `connections.max.reauth.ms`, a broker tells at a login for how long it holds, and closes a connection that is used
for longer. aiokafka neither logs in again nor looks at that time, so that requests would fail. A connection that is
closed while nothing is under way on it is opened anew with the next request, and nobody notices.
"""

from __future__ import annotations

import asyncio
import weakref
from collections.abc import Awaitable
from typing import Any

import aiokafka.client
from aiokafka.conn import AIOKafkaConnection, CloseReason
from aiokafka.protocol.admin import SaslAuthenticateRequest

USED_SHARE = 0.7
"""Share of a session after which its connection is closed, once nothing is under way on it."""

BUSY_SECONDS = 0.02
"""Time after which a connection that was in use is looked at again."""


class SessionConnection(AIOKafkaConnection):  # type: ignore[misc]  # aiokafka has no types
    """A connection that is closed before its session ends, as one that is idle."""

    async def _do_version_lookup(self) -> None:
        """Ask what the broker understands: the first thing that is done with an open connection.

        Nobody waits for the end of its stream. Python would log the reason of a broken one, which others are told.
        """
        self._protocol._closed.add_done_callback(_take_note)
        await super()._do_version_lookup()

    def send(self, request: Any, expect_response: bool = True) -> Awaitable[Any]:
        """Send a request; of the answer to a login, note for how long it holds."""
        answer: Awaitable[Any] = super().send(request, expect_response)
        return self._noted(answer) if isinstance(request, SaslAuthenticateRequest) else answer

    async def _noted(self, answer: Awaitable[Any]) -> Any:
        response = await answer
        milliseconds = getattr(response, "session_lifetime_ms", 0)
        if milliseconds > 0:
            self._loop.call_later(USED_SHARE * milliseconds / 1_000, _close_when_idle, weakref.ref(self))
        return response


def _take_note(end: asyncio.Future[None]) -> None:
    if not end.cancelled():
        end.exception()


def _close_when_idle(reference: weakref.ref[SessionConnection]) -> None:
    """Close a connection unless it is in use; look again soon if it is."""
    connection = reference()
    if connection is None or not connection.connected():
        return
    if connection._requests:
        connection._loop.call_later(BUSY_SECONDS, _close_when_idle, reference)
    else:
        connection.close(CloseReason.IDLE_DROP)


async def create_conn(host: str, port: int, **settings: Any) -> SessionConnection:
    """Open a connection, as aiokafka's function of this name does."""
    connection = SessionConnection(host, port, **settings)
    await connection.connect()
    return connection


aiokafka.client.create_conn = create_conn  # aiokafka's clients take no connection class
