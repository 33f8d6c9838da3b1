"""Workers that stand by: all that takes long is done before the workers that they replace stop."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from metroline.app.local.steps import LOAD, LOADED, POLL_SECONDS, START, STOPPED, WAITING, Steps
from metroline.app.local.worker_process import STOP_SECONDS, WorkerProcess
from metroline.routing.errors import MetrolineError


class NotLoaded(MetrolineError):
    """Raised when a worker on standby cannot load its line; `problems` are the lines that it wrote.

    `files` are those outside of the line's folder in which the cause may be.
    """

    def __init__(self, problems: tuple[str, ...], files: frozenset[Path] = frozenset()) -> None:
        super().__init__("; ".join(problem.removeprefix("error: ") for problem in problems))
        self.problems = problems
        self.files = files


class LoadAbandoned(MetrolineError):
    """Raised when a worker on standby is not needed any more before it has loaded its line."""


@dataclass(frozen=True, slots=True)
class StandbyWorker:
    """A worker process that waits: first for the request to load its line, and then for the request to start."""

    worker: WorkerProcess
    steps: Steps
    begun_at: float
    """Seconds since the epoch."""

    @classmethod
    def begin(cls, environment: Mapping[str, str], folder: Path, port: int | None = None) -> Self:
        """Start the process. Its log and its steps are in `folder`, which is created."""
        folder.mkdir()
        worker = WorkerProcess.start(environment, folder / "log", port, ["--standby", str(folder)])
        return cls(worker, Steps(folder), time.time())

    @property
    def begin_seconds(self) -> float | None:
        """Time that the process took until it could load a line, in seconds; None if it cannot yet."""
        waiting_at = self.steps.taken_at(WAITING)
        return None if waiting_at is None else max(0.0, waiting_at - self.begun_at)

    @property
    def is_waiting(self) -> bool:
        """True if the process runs and has not been asked to load its line."""
        return self.worker.child.exit_code is None and not self.steps.is_taken(LOAD)

    def load(self) -> None:
        """Ask for the line to be loaded and checked, as far as that can be done beside the running workers."""
        self.steps.take(LOAD)

    def wait_until_loaded(self, is_abandoned: Callable[[], bool]) -> None:
        """Return when the line is loaded. Raise `NotLoaded` if it cannot be, and `LoadAbandoned` if it need not be."""
        while not self.steps.is_taken(LOADED):
            if self.worker.child.exit_code is not None:
                raise NotLoaded(self._problems(), self.steps.noted_files)
            if is_abandoned():
                raise LoadAbandoned("the files have changed again")
            time.sleep(POLL_SECONDS)

    def start(self) -> None:
        """Let the worker start."""
        self.steps.take(START)

    def wait_until_stopped(self) -> None:
        """Return once a worker that was asked to end is not in the way of another one, though its process may run on.

        A worker that takes longer than 15 s is not waited for.
        """
        deadline = time.monotonic() + STOP_SECONDS
        while not self.steps.is_taken(STOPPED) and self.worker.child.exit_code is None and time.monotonic() < deadline:
            time.sleep(POLL_SECONDS)

    def _problems(self) -> tuple[str, ...]:
        lines = self.worker.child.log.read_text("utf-8", "replace").splitlines()
        return tuple(filter(str.strip, lines)) or (self.worker.child.last_words(),)
