"""Ports that are kept for a server that this process starts."""

from __future__ import annotations

import asyncio
import errno
import socket

import pytest

from metroline.app.local.ports import HOST, check_free, free_port


async def test_a_server_may_listen_on_a_kept_port_which_refused_connections_until_then() -> None:
    port = free_port()
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection(HOST, port)
    check_free(HOST, port, "the port")
    server = await asyncio.start_server(lambda _reader, writer: writer.close(), HOST, port)
    async with server:
        _, writer = await asyncio.open_connection(HOST, port)
        writer.close()


def test_no_other_program_takes_a_kept_port() -> None:
    """Not one that asks for this very port, and not one to which the system gives a port, as to each connection."""
    port = free_port()
    with socket.socket() as other, pytest.raises(OSError, match="in use") as refused:
        other.bind((HOST, port))
    assert refused.value.errno == errno.EADDRINUSE
    assert len({free_port() for _ in range(200)} | {port}) == 201
