"""A live line: its workers, the records that come in, and everything that it shows until it is stopped."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection
from contextlib import suppress
from itertools import chain, count
from threading import Event

from aiokafka.errors import KafkaError

from metroline.agents.kafka.cluster import Cluster
from metroline.agents.kafka.topic_admin import TopicAdmin
from metroline.agents.services.line import Line
from metroline.app.cli.live.counts import LiveCounts
from metroline.app.cli.live.display import Tell
from metroline.app.cli.live.events import Counts, Problem
from metroline.app.cli.live.line_files import Effect
from metroline.app.cli.live.output import WorkerOutput
from metroline.app.cli.live.reload import Reload
from metroline.app.cli.target_broker import TargetBroker
from metroline.app.inputs.source_loader import load
from metroline.app.inputs.source_records import records_of
from metroline.app.local.crew import Crew
from metroline.app.settings import Settings
from metroline.routing.errors import MetrolineError

POLL_SECONDS = 0.1
"""Time between two looks at the workers, their output and the files of the line."""

COUNT_SECONDS = 1.0
"""Time between two looks at how many records have which outcome."""

Push = Callable[[Line], Awaitable[None]]


class Session:
    """Runs until it is stopped, or a process ends that must not."""

    def __init__(
        self, target: TargetBroker, crew: Crew, push: Push | None, reload: Reload | None, line: Line, tell: Tell
    ) -> None:
        """Take `push`, which sends records of a line into it without end, and `reload`; None to do without.

        `line` is as the workers have loaded it first; `tell` is called with everything that happens.
        """
        self._target = target
        self._crew = crew
        self._push = push
        self._reload = reload
        self._first = line
        self._tell = tell
        self._output = WorkerOutput(tell)
        self._counts = LiveCounts()

    @property
    def line(self) -> Line:
        """The line as it runs now."""
        return self._first if self._reload is None else self._reload.line

    @property
    def counts(self) -> Counts:
        """The counts that were told last."""
        return self._counts.latest

    async def run(self, stopped: Event) -> None:
        """Run until `stopped` is set. Raise a `MetrolineError` or `KafkaError` if a process or the broker ends."""
        shown = [asyncio.create_task(self._show_output()), asyncio.create_task(self._show_counts())]
        pushing = self._begin_pushing()
        try:
            while not stopped.is_set():
                self._crew.check()
                self._target.check()
                for task in (pushing, *shown):
                    if task is not None and task.done():
                        await task
                if self._reload is not None:
                    done = await asyncio.to_thread(self._reload.look, stopped.is_set)
                    if Effect.SAMPLES in done:
                        await _end(pushing)
                        pushing = self._begin_pushing()
                await asyncio.sleep(POLL_SECONDS)
            await self._count()
        finally:
            for task in (pushing, *shown):
                await _end(task)

    def finish(self) -> None:
        """Tell what the workers wrote last, once they have ended."""
        self._output.look(self._crew.logs, self._names(), is_last=True)

    def _names(self) -> Collection[str]:
        """Return the names with which lines of services and resources begin."""
        return {*self.line.stops, *self.line.resources}

    def _begin_pushing(self) -> asyncio.Task[None] | None:
        return None if self._push is None else asyncio.create_task(self._pushing())

    async def _pushing(self) -> None:
        """Send records. With `reload`, an error of the line's own records ends these alone, until they change."""
        assert self._push is not None
        try:
            await self._push(self.line)
        except KafkaError:
            raise
        except Exception as error:  # a user's function may raise anything
            if self._reload is None:
                raise
            kind = "" if isinstance(error, MetrolineError) else f"{type(error).__name__}: "
            self._tell(Problem("error", f"no more records of the line come in: {kind}{error}"))

    async def _show_output(self) -> None:
        while True:
            self._output.look(self._crew.logs, self._names())
            await asyncio.sleep(POLL_SECONDS)

    async def _show_counts(self) -> None:
        while True:
            await self._count()
            await asyncio.sleep(COUNT_SECONDS)

    async def _count(self) -> None:
        """Ask the workers how many records have which outcome, and show it."""
        running = self._crew.running
        if not running:
            return
        outcomes, *traffic = await asyncio.gather(
            asyncio.to_thread(running[0].get, "/table/outcomes/"),
            *(asyncio.to_thread(one.get, "/traffic/") for one in running),
        )
        pids = [str(one.child.pid) for one in running]
        answers = {pid: answer for pid, answer in zip(pids, traffic, strict=True) if answer is not None}
        self._tell(self._counts.look(outcomes, answers))


async def _end(task: asyncio.Task[None] | None) -> None:
    if task is not None:
        task.cancel()
        with suppress(asyncio.CancelledError, KafkaError, MetrolineError):
            await task


async def push_forever(cluster: Cluster, settings: Settings, rate: float, seed: int, linger: float, line: Line) -> None:
    """Send the line's own records into it, `rate` of them a second, until this is cancelled.

    They are gathered for up to `linger` seconds.
    """
    source = settings.topics(line).source
    partitions = (await TopicAdmin(cluster).partitions([source]))[source]
    messages = chain.from_iterable(records_of("1000", line, number) for number in count(seed))
    async for _ in load(cluster, source, messages, partitions, rate, linger=linger):
        pass
