"""Waiting for a condition with a deadline, and the conditions that tests of processes wait for."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable

import psutil


def wait_until(holds: Callable[[], bool], timeout: float = 10.0) -> None:
    """Returns when `holds()` is true; fails the test after `timeout` seconds."""
    deadline = time.monotonic() + timeout
    while not holds():
        assert time.monotonic() < deadline, f"it did not happen within {timeout:g} s"
        time.sleep(0.02)


def is_running(pid: int) -> bool:
    """Whether there is such a process; one that ended and that nobody has asked about does not count."""
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def is_open(port: int) -> bool:
    """Whether something listens on that port of 127.0.0.1."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def children() -> set[int]:
    """The processes that this one and its children started and that were not collected yet."""
    return {child.pid for child in psutil.Process().children(recursive=True)}
