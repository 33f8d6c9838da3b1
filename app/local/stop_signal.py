"""Commands that run until they are stopped."""

from __future__ import annotations

import signal
from threading import Event


def stop_signal() -> Event:
    """Return an event that SIGTERM and Ctrl-C set from now on."""
    stopped = Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopped.set())
    return stopped
