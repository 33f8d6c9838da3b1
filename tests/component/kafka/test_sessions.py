"""A connection of aiokafka whose login holds for a time is closed before that, and never in the middle of a request."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiokafka.client
from aiokafka.protocol.admin import ApiVersionRequest

from metroline.agents.kafka import sessions
from metroline.agents.kafka.sessions import SessionConnection, create_conn
from metroline.app.local.ports import HOST
from tests.support.bench import until

API_VERSIONS = struct.pack(">hi" + "hhh" * 3, 0, 3, 17, 0, 1, 18, 0, 0, 36, 0, 1)
HANDSHAKE = struct.pack(">hih", 0, 1, 5) + b"PLAIN"


class Broker:
    """A broker that lets everybody in for a time, and answers requests when it may."""

    def __init__(self, lifetime_ms: int) -> None:
        self.lifetime_ms = lifetime_ms
        self.answers = asyncio.Event()
        self.answers.set()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer the requests of a connection until it is closed."""
        try:
            while True:
                (size,) = struct.unpack(">i", await reader.readexactly(4))
                key, _, correlation = struct.unpack(">hhi", (await reader.readexactly(size))[:8])
                await self.answers.wait()
                body = {18: API_VERSIONS, 17: HANDSHAKE, 36: struct.pack(">hhiq", 0, -1, 0, self.lifetime_ms)}[key]
                writer.write(struct.pack(">ii", 4 + len(body), correlation) + body)
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    @asynccontextmanager
    async def connected(self) -> AsyncIterator[SessionConnection]:
        """Run the broker, and yield a connection that has logged in."""
        server = await asyncio.start_server(self.serve, HOST, 0)
        port = server.sockets[0].getsockname()[1]
        login = {"sasl_mechanism": "PLAIN", "sasl_plain_username": "me", "sasl_plain_password": "secret"}
        connection = await create_conn(HOST, port, security_protocol="SASL_PLAINTEXT", **login)
        try:
            yield connection
        finally:
            await connection.close()
            server.close()


def test_the_clients_of_aiokafka_open_such_connections() -> None:
    assert aiokafka.client.create_conn is sessions.create_conn


async def test_a_connection_is_closed_before_its_session_ends() -> None:
    async with Broker(lifetime_ms=400).connected() as connection:
        assert connection.connected()
        async with asyncio.timeout(30):
            await until(lambda: not connection.connected())


async def test_a_connection_that_is_in_use_is_closed_after_the_answer() -> None:
    broker = Broker(lifetime_ms=100)
    async with broker.connected() as connection:
        broker.answers.clear()
        asked = asyncio.ensure_future(connection.send(ApiVersionRequest()))
        await asyncio.sleep(0.2)
        assert connection.connected()
        broker.answers.set()

        assert (await asked).error_code == 0
        async with asyncio.timeout(30):
            await until(lambda: not connection.connected())


async def test_a_login_without_an_end_keeps_its_connection() -> None:
    async with Broker(lifetime_ms=0).connected() as connection:
        await asyncio.sleep(0.1)
        assert connection.connected()
