"""Worker processes that a command starts."""

from __future__ import annotations

import json
import os
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import psutil

from metroline.app.local.child_process import Child
from metroline.app.local.ports import HOST, free_port
from metroline.routing.errors import MetrolineError

START_SECONDS = 60.0
STOP_SECONDS = 15.0
POLL_SECONDS = 0.05

AT_LOAD = "0.1"
"""FETCH_WAIT for the embedded broker under load, in seconds: a fetch every few ms costs an eighth of a core."""

LOCAL = {
    "FETCH_WAIT": "0.005",
    "BROKER_SESSION_TIMEOUT": "6",
    "BROKER_REBALANCE_TIMEOUT": "6",
    "BROKER_HEARTBEAT_INTERVAL": "1",
}
"""Settings for the embedded broker: a fetch does not return when data arrives, and a group is formed after half of the
session timeout."""

EMBEDDED_PARTITIONS = 16
"""Partitions of a line that runs for long on the embedded broker.

Tansu 0.6.0 keeps every batch as an object and goes through all objects of a partition to read what is new in it. From
some 10,000 in a partition on, whoever falls behind their end waits for seconds.
"""

BUSY_RATE = 100.0
"""Records per second from which such a line does with fewer, larger batches."""

BUSY_SECONDS = 0.05
"""Time for which such a line gathers what it writes to its source, and for which a fetch waits."""

MIN_SESSION_SECONDS = 1.5


def gathering(rate: float) -> float:
    """Return the time in seconds for which messages to the source are gathered on the embedded broker at this rate."""
    return BUSY_SECONDS if rate >= BUSY_RATE else 0.0


def quick_session(begin_seconds: float) -> dict[str, str]:
    """Return settings with which a group is formed soon on the embedded broker, for workers that are often replaced.

    `begin_seconds` is the time that a process took to begin. The longer, the later heartbeats may be: on a busy machine
    the settings are those of `LOCAL`.
    """
    session = min(max(MIN_SESSION_SECONDS, begin_seconds), float(LOCAL["BROKER_SESSION_TIMEOUT"]))
    return {"BROKER_SESSION_TIMEOUT": f"{session:.1f}", "BROKER_HEARTBEAT_INTERVAL": f"{session / 6:.2f}"}


def own_age() -> float:
    """Return the time since this process began, in seconds."""
    return max(0.0, time.time() - psutil.Process().create_time())


class WorkerDied(MetrolineError):
    """Raised when a worker process has ended unexpectedly."""


class WorkerSilent(MetrolineError):
    """Raised when a worker runs but is not ready in time."""


@dataclass(slots=True)
class WorkerProcess:
    """A worker as it is deployed: a process that reads its settings from its environment."""

    child: Child
    port: int

    @classmethod
    def start(
        cls, environment: Mapping[str, str], log: Path, port: int | None = None, options: Sequence[str] = ()
    ) -> Self:
        """Start `metroline worker` with these variables besides those of this process. Its output goes to `log`."""
        command = [sys.executable, "-m", "metroline", "worker", *options]
        web_port = port or free_port()
        variables = {**os.environ, **environment, "WEB_PORT": str(web_port), "WEB_BIND": HOST}
        return cls(Child.start(command, log, environment=variables), web_port)

    @property
    def url(self) -> str:
        return f"http://{HOST}:{self.port}"

    def check(self) -> None:
        """Raise `WorkerDied`, with the end of its log, if the process has ended."""
        if self.child.exit_code is not None:
            raise WorkerDied(f"a worker ended: {self.child.last_words(2)}")

    def get(self, path: str) -> Any:
        """Return the JSON at a path of its web server, or None if there is no answer or it is an error."""
        try:
            with urllib.request.urlopen(f"{self.url}{path}", timeout=5.0) as answer:
                return json.load(answer)
        except (OSError, ValueError, urllib.error.URLError):
            return None

    def wait_until_ready(self) -> None:
        """Return when it is ready by its own account. Raise `WorkerSilent` after 60 s."""
        deadline = time.monotonic() + START_SECONDS
        while self.get("/health/ready") is None:
            self.check()
            if time.monotonic() > deadline:
                raise WorkerSilent(f"a worker is not ready after {START_SECONDS:g} s; {self.child.last_words()}")
            time.sleep(POLL_SECONDS)

    def stop(self) -> None:
        self.child.stop(STOP_SECONDS)


def stop_all(workers: Iterable[WorkerProcess]) -> None:
    """Ask all workers to end, then wait for each."""
    running = list(workers)
    for worker in running:
        worker.child.terminate()
    for worker in running:
        worker.stop()
