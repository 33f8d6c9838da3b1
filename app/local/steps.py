"""Steps that two processes take in turn, as files in a folder that both know."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

POLL_SECONDS = 0.02

WAITING, LOAD, LOADED, START, STOPPED = "waiting", "load", "loaded", "start", "stopped"
"""The steps of a worker that replaces another one and is replaced: it waits, it may load its line, it has loaded it, it
may start, and it has left its consumer groups and its port."""


@dataclass(frozen=True, slots=True)
class Steps:
    """The steps that were taken so far."""

    folder: Path

    def take(self, step: str) -> None:
        """Take a step, for which another process may wait."""
        (self.folder / step).touch()

    def is_taken(self, step: str) -> bool:
        return (self.folder / step).exists()

    def taken_at(self, step: str) -> float | None:
        """Return when a step was taken, in seconds since the epoch; None if it was not."""
        try:
            return (self.folder / step).stat().st_mtime
        except FileNotFoundError:
            return None

    def wait_for(self, step: str) -> None:
        """Return once the step is taken, however long that takes."""
        while not self.is_taken(step):
            time.sleep(POLL_SECONDS)
