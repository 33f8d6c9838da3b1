"""Worker processes that a command starts, and what they tell of themselves over HTTP."""

from __future__ import annotations

import json
import os
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from metroline.app.local.broker_probe import HOST, free_port
from metroline.app.local.child_process import Child
from metroline.routing.errors import MetrolineError

START_SECONDS = 60.0
STOP_SECONDS = 15.0

AT_LOAD = "0.1"
"""FETCH_WAIT of the embedded broker while records wait anyway: a fetch every few ms costs an eighth of a core."""

LOCAL = {
    "FETCH_WAIT": "0.005",
    "BROKER_SESSION_TIMEOUT": "6",
    "BROKER_REBALANCE_TIMEOUT": "6",
    "BROKER_HEARTBEAT_INTERVAL": "1",
}
"""What suits the embedded broker: it does not wake on data, and a first join takes half of the rebalance timeout."""


class WorkerDied(MetrolineError):
    """Raised when a worker process ended that should run."""


class WorkerSilent(MetrolineError):
    """Raised when a worker runs and does not become ready in time."""


@dataclass(slots=True)
class WorkerProcess:
    """A worker as it is deployed: a process of its own that reads its environment."""

    child: Child
    port: int

    @classmethod
    def start(cls, environment: Mapping[str, str], log: Path, port: int | None = None) -> Self:
        """Starts `metroline worker` with these variables on top of this process' own; what it logs goes to `log`."""
        web_port = port or free_port()
        variables = {**os.environ, **environment, "WEB_PORT": str(web_port), "WEB_BIND": HOST}
        return cls(Child.start([sys.executable, "-m", "metroline", "worker"], log, environment=variables), web_port)

    @property
    def url(self) -> str:
        return f"http://{HOST}:{self.port}"

    def check(self) -> None:
        """Raises `WorkerDied`, with the end of its log, if it is gone."""
        if self.child.exit_code is not None:
            raise WorkerDied(f"a worker ended: {self.child.last_words(2)}")

    def get(self, path: str) -> Any:
        """The JSON at a path of its web server; None while there is no answer."""
        try:
            with urllib.request.urlopen(f"{self.url}{path}", timeout=5.0) as answer:
                return json.load(answer)
        except (OSError, ValueError, urllib.error.URLError):
            return None

    def wait_until_ready(self) -> None:
        """Returns when its web server answers, which is after its tables are recovered."""
        deadline = time.monotonic() + START_SECONDS
        while self.get("/traffic/") is None:
            self.check()
            if time.monotonic() > deadline:
                raise WorkerSilent(f"a worker is not ready after {START_SECONDS:g} s; {self.child.last_words()}")
            time.sleep(0.1)

    def stop(self) -> None:
        self.child.stop(STOP_SECONDS)


def stop_all(workers: Iterable[WorkerProcess]) -> None:
    """Asks all to end, then waits for each."""
    running = list(workers)
    for worker in running:
        worker.child.terminate()
    for worker in running:
        worker.stop()
