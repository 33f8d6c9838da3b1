"""Ports of this machine."""

from __future__ import annotations

import asyncio
import atexit
import socket

from metroline.routing.errors import MetrolineError

HOST = "127.0.0.1"
_kept: list[socket.socket] = []  # one for each port that `free_port` returned


class PortInUse(MetrolineError):
    """Raised when another program listens on a port that is needed."""


def free_port() -> int:
    """Return a port of 127.0.0.1 that is kept for a server which this process starts, until this process ends.

    A port on which nothing listens could be taken before the server does: the system gives such ports to every
    connection that a program opens. So a socket stays bound to it, without listening: no other program is given the
    port, and connections to it are refused, but a server that sets SO_REUSEADDR, as nearly all do, may listen on it.
    """
    keeper = socket.socket()
    keeper.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    keeper.bind((HOST, 0))
    _kept.append(keeper)
    return int(keeper.getsockname()[1])


@atexit.register
def _release() -> None:
    while _kept:
        _kept.pop().close()


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
