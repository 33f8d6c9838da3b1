"""Lets changed files of a live line take effect: code by other workers, rules by publishing them."""

from __future__ import annotations

import asyncio
import importlib.util
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass
from functools import reduce
from itertools import chain
from operator import or_
from pathlib import Path

from aiokafka.errors import KafkaError

from metroline.agents.kafka.cluster import Cluster
from metroline.agents.services.line import Line
from metroline.agents.services.line_modules import forget_modules
from metroline.agents.services.outside_modules import forget
from metroline.app.cli.live.display import Tell
from metroline.app.cli.live.events import Changed, LiveWorker, Problem, Refused
from metroline.app.cli.live.line_files import Effect, effect_of, files_of
from metroline.app.cli.options import read_text
from metroline.app.local.crew import Crew
from metroline.app.local.file_watch import FileWatch
from metroline.app.local.standby_worker import LoadAbandoned, NotLoaded
from metroline.app.local.worker_process import WorkerDied, WorkerSilent
from metroline.app.operations.permission import Permission
from metroline.app.operations.rules_file import publish_file
from metroline.app.settings import Settings
from metroline.routing.errors import InvalidLineOptions, InvalidRules, MetrolineError
from metroline.routing.rules.coverage import warnings_of_change


@dataclass(frozen=True, slots=True)
class _Done:
    """The work that changed files have caused."""

    has_new_workers: bool = False
    rules_version: int | None = None


class Reload:
    """Looks for changed files of a line, and makes its workers go by them. A change with an error has no effect."""

    def __init__(self, settings: Settings, cluster: Cluster, line: Line, crew: Crew, tell: Tell) -> None:
        """Take the line as the workers of `crew` have loaded it."""
        self.line = line
        """The line as it runs now."""
        self._settings = settings
        self._cluster = cluster
        self._crew = crew
        self._tell = tell
        self._suspects: frozenset[Path] = frozenset()
        """Files outside of the line's folder in which the cause may be that a change cannot be used."""
        self._watch = FileWatch(lambda: chain(files_of(self.line), self._suspects))

    def look(self, is_stopped: Callable[[], bool]) -> Effect:
        """Let what has changed take effect, and return what was done. Give up once `is_stopped` returns True.

        No error is raised: what is wrong and where is told.
        """
        changed = self._watch.changed()
        if not changed:
            return Effect.NOTHING
        effect, began = reduce(or_, (effect_of(file, self.line) for file in changed)), time.monotonic()
        names = self._names(changed)
        try:
            done = self._apply(changed, effect, lambda: is_stopped() or self._watch.has_moved_on())
        except LoadAbandoned:
            return Effect.NOTHING  # the next look finds the files as they are then
        except (WorkerDied, WorkerSilent) as error:
            self._watch.distrust()
            self._tell(Refused(names, (f"error: {error}",), runs_on=False))
            return Effect.NOTHING
        except (MetrolineError, KafkaError, OSError) as error:  # files may go at any moment
            self._suspects = error.files if isinstance(error, NotLoaded) else frozenset()
            self._watch.refuse()
            self._tell(Refused(names, _problems(error), runs_on=True))
            return Effect.NOTHING
        self._suspects = frozenset()
        self._watch.accept()
        workers = LiveWorker.of(self._crew.running) if done.has_new_workers else None
        self._tell(Changed(names, workers, done.rules_version, Effect.SAMPLES in effect, time.monotonic() - began))
        return effect

    def _apply(self, changed: Collection[Path], effect: Effect, is_abandoned: Callable[[], bool]) -> _Done:
        """Do what the changes need, and return what was done; raise a `MetrolineError` if they cannot be used."""
        if Effect.WORKERS in effect or (Effect.RULES in effect and not self._settings.strategy.needs_live):
            return self._replace(changed, effect, is_abandoned)
        if Effect.RULES in effect:
            return _Done(rules_version=self._publish(self.line))
        return _Done()

    def _replace(self, changed: Collection[Path], effect: Effect, is_abandoned: Callable[[], bool]) -> _Done:
        """Replace the workers. Changed rules are published while none runs, so that no worker has rules for others."""
        _forget_bytecode(changed)
        versions = []

        def between() -> None:
            forget(self.line.outside)
            forget_modules(self.line.rules_file.parent)
            self.line = Line.load(self._settings.line)
            if Effect.RULES in effect:
                versions.append(self._publish(self.line))

        gone = self.line.stops
        self._crew.replace(between, is_abandoned)
        for stop in sorted(gone - self.line.stops):
            self._warn(f"no service serves {stop!r} any more: records that wait for it stay there")
        return _Done(True, versions[0] if versions else None)

    def _publish(self, line: Line) -> int:
        text = read_text(line.rules_file)
        table = line.network(text, str(line.rules_file)).table
        published = asyncio.run(publish_file(self._cluster, self._settings.topics(line), text, Permission.of_command()))
        for warning in warnings_of_change(published.before, table) if published.before else ():
            self._warn(warning)
        return published.version

    def _warn(self, text: str) -> None:
        self._tell(Problem("warning", text))

    def _names(self, files: Collection[Path]) -> tuple[str, ...]:
        """Return the names of files, as seen from the line's folder, sorted."""
        here = self.line.rules_file.parent
        return tuple(str(file.relative_to(here) if file.is_relative_to(here) else file) for file in sorted(files))


def _problems(error: Exception) -> tuple[str, ...]:
    if isinstance(error, (InvalidRules, InvalidLineOptions, NotLoaded)):
        return error.problems
    return (f"error: {error}",)


def _forget_bytecode(files: Collection[Path]) -> None:
    """Delete the compiled code of Python files: Python takes it for that of a file changed within the same second."""
    for file in files:
        if file.suffix == ".py":
            Path(importlib.util.cache_from_source(str(file))).unlink(missing_ok=True)
