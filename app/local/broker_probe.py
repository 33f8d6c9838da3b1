"""Asks a broker on this machine whether it answers."""

from __future__ import annotations

import socket
import struct
import time

from metroline.app.local.child_process import Child
from metroline.app.local.ports import HOST
from metroline.routing.errors import MetrolineError

POLL_SECONDS = 0.02


class BrokerDied(MetrolineError):
    """Raised when the process of a broker has ended."""


class BrokerSilent(MetrolineError):
    """Raised when a broker runs but does not answer in time."""


def wait_until_it_answers(child: Child, port: int, cluster: str, timeout: float = 30.0) -> None:
    """Return when the broker answers. Raise `BrokerDied` or, after `timeout` seconds, `BrokerSilent`."""
    deadline = time.monotonic() + timeout
    while not answers(port, cluster):
        check_alive(child)
        if time.monotonic() > deadline:
            raise BrokerSilent(f"the broker on {HOST}:{port} has not answered for {timeout:g} s; {child.last_words()}")
        time.sleep(POLL_SECONDS)


def check_alive(child: Child) -> None:
    """Raise `BrokerDied` if the broker's process has ended."""
    if child.exit_code is not None:
        raise BrokerDied(f"the broker died: {child.last_words()}")


def answers(port: int, cluster: str) -> bool:
    """Tell whether a broker of this very cluster answers a Kafka request at 127.0.0.1:`port`.

    The request is Metadata, version 2, for no topic (https://kafka.apache.org/protocol.html#The_Messages_Metadata). The
    response has the live brokers and the cluster's id. It is written by hand because a client library would log each
    refused connection.
    """
    header = struct.pack(">hhih", 3, 2, 0, -1)  # Metadata, version, correlation id, no client id
    request = header + struct.pack(">i", 0)
    try:
        with socket.create_connection((HOST, port), timeout=1.0) as connection, connection.makefile("rwb") as stream:
            stream.write(struct.pack(">i", len(request)) + request)
            stream.flush()
            (size,) = struct.unpack(">i", stream.read(4))
            answer = stream.read(size)
            (brokers,) = struct.unpack_from(">i", answer, 4)  # after the correlation id
    except (OSError, struct.error):
        return False
    return brokers > 0 and cluster.encode() in answer
