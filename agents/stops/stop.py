"""A stop: the agent that runs one service on the records of its topic."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import replace

from metroline.agents.delivery.agent_loop import AgentLoop
from metroline.agents.delivery.unit_of_work import UnitOfWork, confirmed_unit
from metroline.agents.kafka.producer import Confirmation
from metroline.agents.services.service import Service
from metroline.agents.stops.ordering import OrderedQueues
from metroline.agents.stops.service_run import ServiceRun
from metroline.agents.stops.threads import ThreadRunner
from metroline.agents.stops.views import ServiceViews
from metroline.agents.tables.live_rules import LiveRules
from metroline.routing.journeys.answers import Answers, StopPolicy, admit, depart
from metroline.routing.journeys.departures import Departures
from metroline.routing.journeys.retry_policy import RetryPolicy
from metroline.routing.messages.envelope import Envelope
from metroline.routing.messages.segment import Segment
from metroline.routing.strategies import strategy_named

MAX_ABANDONED = 8
"""Maximum number of threads that still run after their timeout, for each unit of a service's `concurrency`."""

SLICE_SECONDS = 0.02
"""Time after which a stop yields to other tasks of the event loop."""


class Stop:
    """Runs one service on the records that arrive at its stop, and sends each record on."""

    def __init__(
        self,
        agent_loop: AgentLoop,
        rules: LiveRules,
        service: Service,
        retry_policy: RetryPolicy,
        *,
        max_age: float | None = None,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        """Create the stop of a service.

        `retry_policy` holds the defaults for the service. `max_age` is the maximum duration of a journey, in seconds.
        `jitter` returns a random number from 0 to 1.
        """
        self.agent_loop = agent_loop
        self.bus = agent_loop.bus
        self.clock = agent_loop.clock
        self.rules = rules
        self.service = service
        self.policy = StopPolicy(
            service.name, service.retry_policy_over(retry_policy), service.no_retry, service.reads, max_age
        )
        self.jitter = jitter
        self._threads = ThreadRunner(max_abandoned=MAX_ABANDONED * service.concurrency)
        self._views = ServiceViews(service.reads)
        self.queues: OrderedQueues | None = None
        if service.ordered:
            by = service.ordered if isinstance(service.ordered, str) else None
            self.queues = OrderedQueues(by, self._attempt, self.clock)

    async def handle(self, envelope: Envelope, unit: UnitOfWork) -> None:
        """Run the service on the records of an envelope and send them on, grouped by their next address.

        Records that have not begun when the time of the unit of work is up go back to the stop.
        """
        if self.queues is not None:
            async with self.queues.turn:
                await self._handle_in_order(envelope, unit, self.queues)
            return
        departures = self.bus.departures(envelope)
        runs = list(self._runs(envelope, departures))
        await self._call(runs, unit)
        for run in runs:
            self._depart(departures, run)
        await self.bus.dispatch(departures, unit)

    async def _handle_in_order(self, envelope: Envelope, unit: UnitOfWork, queues: OrderedQueues) -> None:
        """Handle one record after the other; a record that fails waits in its queue with the records behind it."""
        departures = self.bus.departures(envelope)
        slice_began = self.clock()
        for run in self._runs(envelope, departures):
            segment = run.answers.segment
            waiting: set[int] = set()
            for place, line in enumerate(segment.lines):
                key = queues.key(envelope.origin, line)
                again: Segment | None = segment.part([place])
                if not queues.is_taken(key):
                    await run.run_one(place)
                    again = self._again(run, place)
                if again is not None:
                    waiting.add(place)
                    queues.hold(key, replace(envelope, segments=(again,)), unit)
                if self.clock() - slice_began > SLICE_SECONDS:
                    await asyncio.sleep(0)
                    slice_began = self.clock()
            run.answers.taken = len(run)
            self._depart(departures, run, waiting)
        await self.bus.dispatch(departures, unit)

    async def _attempt(self, envelope: Envelope) -> Envelope | Confirmation:
        """Try a record that waited in its queue, as described by `ordering.Attempt`."""
        departures = self.bus.departures(envelope)
        for run in self._runs(envelope, departures):
            await run.run_one(0)
            again = self._again(run, 0)
            if again is not None:
                return replace(envelope, segments=(again,))
            self._depart(departures, run)
        unit, confirmation = confirmed_unit(self.bus.work_time)
        await self.bus.dispatch(departures, unit)
        unit.release()
        return confirmation

    def _runs(self, envelope: Envelope, departures: Departures) -> Iterator[ServiceRun]:
        """Yield a run for each segment whose journey may continue; expired journeys end here."""
        for segment in envelope.segments:
            if admit(departures, segment, self.policy, self.clock()):
                strategy, tables = strategy_named(envelope.strategy), self.rules.rule_tables
                answers = Answers(self.service.name, segment, self._views.of, strategy, tables)
                yield ServiceRun(self.service, self.policy, self._threads, envelope.origin, answers)

    def _depart(self, departures: Departures, run: ServiceRun, held: Collection[int] = ()) -> None:
        depart(departures, run.answers, self.policy, self.clock(), self.jitter, held=held)

    def _again(self, run: ServiceRun, place: int) -> Segment | None:
        return run.answers.again(place, self.policy, self.clock(), self.jitter)

    async def _call(self, runs: list[ServiceRun], unit: UnitOfWork) -> None:
        """Call the service on the records of all runs, up to `concurrency` of them at once."""
        if self.service.is_plain:
            await self._call_plain(runs, unit)
            return
        waiting = ((run, place) for run in runs for place in range(len(run)))
        if self.service.concurrency == 1:
            await self._call_each(waiting, unit)
        else:
            await asyncio.gather(*(self._call_each(waiting, unit) for _ in range(self.service.concurrency)))

    async def _call_plain(self, runs: Iterable[ServiceRun], unit: UnitOfWork) -> None:
        """Call a plain function on at least one record, and on the others until time is up."""
        for run in runs:
            while run.answers.taken < len(run):
                run.run(self.clock, SLICE_SECONDS)
                if unit.is_over(self.clock()):
                    return
                await asyncio.sleep(0)

    async def _call_each(self, waiting: Iterator[tuple[ServiceRun, int]], unit: UnitOfWork) -> None:
        """Handle at least one record, and then the others until none is left or time is up."""
        slice_began = self.clock()
        for run, place in waiting:
            run.answers.taken += 1
            await run.run_async(place)
            now = self.clock()
            if unit.is_over(now):
                return
            if now - slice_began > SLICE_SECONDS:
                await asyncio.sleep(0)
                slice_began = self.clock()
