"""Waiting for a condition with a deadline, and the conditions on processes and ports that tests wait for."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable

import psutil


def wait_until(holds: Callable[[], bool], timeout: float = 60.0) -> None:
    """Return when `holds()` is true; fail the test after `timeout` seconds."""
    deadline = time.monotonic() + timeout
    while not holds():
        assert time.monotonic() < deadline, f"it did not happen within {timeout:g} s"
        time.sleep(0.02)


def is_running(pid: int) -> bool:
    """Return whether there is a process with this id that is not a zombie."""
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def is_open(port: int) -> bool:
    """Return whether a process listens on this port of 127.0.0.1."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def children() -> set[int]:
    """Return the descendants of this process that have not been reaped yet."""
    return {child.pid for child in psutil.Process().children(recursive=True)}
