"""The crew: the workers of a line that runs on this machine, which can be replaced by workers with other code."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import count
from pathlib import Path

from metroline.app.local.standby_worker import StandbyWorker
from metroline.app.local.worker_process import WorkerProcess, quick_session, stop_all


def _nothing() -> None:
    """Do nothing."""


def _never() -> bool:
    return False


class Crew:
    """Workers that start together, and are replaced together."""

    def __init__(
        self,
        environment: Mapping[str, str],
        folder: Path,
        size: int,
        port: int,
        *,
        has_standby: bool = False,
        begin_seconds: float | None = None,
    ) -> None:
        """Take the folder for logs, the number of workers, and the port of the first one's pages.

        With `has_standby`, further workers stand by, so that a replacement takes less time. `begin_seconds` is the time
        that this process took to begin, if the workers use the embedded broker and are replaced often.
        """
        self._environment = environment
        self._folder = folder
        self._size = size
        self._port = port
        self._has_standby = has_standby
        self._begin_seconds = begin_seconds
        self._numbers = count(1)
        self._standby: list[StandbyWorker] = []
        self._started: list[StandbyWorker] = []
        self.logs: list[Path] = []
        """The logs of the workers that run, after those of the workers that ran before them."""

    @property
    def running(self) -> list[WorkerProcess]:
        """The workers that were started and not replaced."""
        return [one.worker for one in self._started]

    def replace(self, between: Callable[[], None] = _nothing, is_abandoned: Callable[[], bool] = _never) -> None:
        """Load the line in new workers, stop the running ones, call `between`, and start the new ones.

        Return when they are ready. Raise `NotLoaded`, and leave the running workers alone, if the line cannot be
        loaded; raise `LoadAbandoned`, too, once `is_abandoned` returns True while it is loaded. Raise `WorkerDied` or
        `WorkerSilent` if a new worker cannot start; then none runs.
        """
        fresh = self._taken()
        try:
            for one in fresh:
                one.load()
            for one in fresh:
                one.wait_until_loaded(is_abandoned)
        except BaseException:
            _stop(fresh)
            raise
        old, self._started = self._started, []
        for worker in old:
            worker.worker.child.terminate()
        for worker in old:
            worker.wait_until_stopped()
        try:
            between()
        finally:
            self._start(fresh)
            _stop(old)
        self._wait_until_ready()
        if self._has_standby:
            self._standby = self._begun()

    def check(self) -> None:
        """Raise `WorkerDied` if the process of a running worker has ended."""
        for worker in self.running:
            worker.check()

    def stop(self) -> None:
        """Stop all workers, those on standby as well."""
        _stop([*self._started, *self._standby])
        self._started, self._standby = [], []

    def _taken(self) -> list[StandbyWorker]:
        """Return the workers on standby, or new ones if there are none or some have ended."""
        taken, self._standby = self._standby, []
        if taken and all(one.is_waiting for one in taken):
            return taken
        _stop(taken)
        return self._begun()

    def _begun(self) -> list[StandbyWorker]:
        ports = [self._port, *[None] * (self._size - 1)]
        environment = self._environment
        if self._begin_seconds is not None:
            seconds = [self._begin_seconds, *(one.begin_seconds or 0.0 for one in self._started)]
            environment = {**environment, **quick_session(max(seconds))}
        return [
            StandbyWorker.begin(environment, self._folder / f"worker-{next(self._numbers)}", port) for port in ports
        ]

    def _start(self, fresh: list[StandbyWorker]) -> None:
        for one in fresh:
            one.start()
        self.logs = [*self.logs[-self._size :], *(one.worker.child.log for one in fresh)]
        self._started = fresh

    def _wait_until_ready(self) -> None:
        """Return when the workers are ready; stop all of them if one cannot be."""
        try:
            for worker in self.running:
                worker.wait_until_ready()
        except BaseException:
            _stop(self._started)
            self._started = []
            raise


def _stop(workers: list[StandbyWorker]) -> None:
    stop_all(one.worker for one in workers)
