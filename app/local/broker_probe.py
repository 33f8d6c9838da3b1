"""Whether a broker on this machine answers: its port is open before it does."""

from __future__ import annotations

import socket
import struct
import time

from metroline.app.local.child_process import Child
from metroline.routing.errors import MetrolineError

HOST = "127.0.0.1"


class BrokerDied(MetrolineError):
    """Raised when a broker's process is gone."""


class BrokerSilent(MetrolineError):
    """Raised when a broker runs and does not answer in time."""


def free_port() -> int:
    """A port of 127.0.0.1 on which nothing listens now."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])


class PortInUse(MetrolineError):
    """Raised when something else listens on a port that is needed."""


def check_free(host: str, port: int, what: str) -> None:
    """Raises `PortInUse` if something listens on that port; `what` says whose port it is."""
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise PortInUse(f"{what} {port} of {host} cannot be used ({error.strerror}): name another one") from None


def wait_until_it_answers(child: Child, port: int, cluster: str, timeout: float = 30.0) -> None:
    """Returns when the broker answers; raises `BrokerDied` or, after `timeout` seconds, `BrokerSilent`."""
    deadline = time.monotonic() + timeout
    while not answers(port, cluster):
        check_alive(child)
        if time.monotonic() > deadline:
            raise BrokerSilent(f"the broker on {HOST}:{port} has not answered for {timeout:g} s; {child.last_words()}")
        time.sleep(0.02)


def check_alive(child: Child) -> None:
    """Raises `BrokerDied` if the broker's process is gone."""
    if child.exit_code is not None:
        raise BrokerDied(f"the broker died: {child.last_words()}")


def answers(port: int, cluster: str) -> bool:
    """Whether a broker of this very cluster answers a Kafka request at 127.0.0.1:`port`, and not somebody else's.

    The request is Metadata, version 2, for no topic (https://kafka.apache.org/protocol.html#The_Messages_Metadata):
    its answer holds the live brokers and the cluster's id. Asked by hand: a client library would log each refusal.
    """
    header = struct.pack(">hhih", 3, 2, 0, -1)  # Metadata, version, correlation id, no client id
    request = header + struct.pack(">i", 0)
    try:
        with socket.create_connection((HOST, port), timeout=1.0) as connection, connection.makefile("rwb") as stream:
            stream.write(struct.pack(">i", len(request)) + request)
            stream.flush()
            (size,) = struct.unpack(">i", stream.read(4))
            answer = stream.read(size)
            (brokers,) = struct.unpack_from(">i", answer, 4)  # behind the correlation id
    except (OSError, struct.error):
        return False
    return brokers > 0 and cluster.encode() in answer
