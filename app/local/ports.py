"""Ports of this machine."""

from __future__ import annotations

import asyncio
import socket

from metroline.routing.errors import MetrolineError

HOST = "127.0.0.1"


class PortInUse(MetrolineError):
    """Raised when another program listens on a port that is needed."""


def free_port() -> int:
    """Return a port of 127.0.0.1 on which nothing listens now."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])


def check_free(host: str, port: int, what: str) -> None:
    """Raise `PortInUse` if a program listens on that port; `what` says in the message where the port was chosen."""
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise PortInUse(f"{what} {port} of {host} cannot be used ({error.strerror}): name another one") from None


async def resolves(host: str) -> bool:
    """Return whether the name or address of a host can be resolved on this machine."""
    try:
        await asyncio.get_running_loop().getaddrinfo(host, None)
    except OSError:
        return False
    return True
