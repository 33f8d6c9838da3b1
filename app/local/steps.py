"""Steps that two processes take in turn, as files in a folder that both know."""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

POLL_SECONDS = 0.02

WAITING, LOAD, LOADED, START, STOPPED = "waiting", "load", "loaded", "start", "stopped"
"""The steps of a worker that replaces another one and is replaced: it waits, it may load its line, it has loaded it, it
may start, and it has left its consumer groups and its port, and closed the resources of its services."""


FILES = "files"


@dataclass(frozen=True, slots=True)
class Steps:
    """The steps that were taken so far."""

    folder: Path

    def take(self, step: str) -> None:
        """Take a step, for which another process may wait."""
        (self.folder / step).touch()

    def note_files(self, files: Iterable[Path]) -> None:
        """Note the files outside of the line's folder that loading the line has come through."""
        with (self.folder / FILES).open("a", encoding="utf-8", errors="surrogateescape") as noted:
            noted.writelines(f"{file}\n" for file in files)

    @property
    def noted_files(self) -> frozenset[Path]:
        """The files that were noted."""
        noted = self.folder / FILES
        if not noted.exists():
            return frozenset()
        return frozenset(map(Path, noted.read_text("utf-8", "surrogateescape").splitlines()))

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
