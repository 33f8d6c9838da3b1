"""The wrapper of a service: one Faust agent for each stop, written once."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from typing import Any

from metroline.agents.delivery.agent_loop import AgentLoop
from metroline.agents.delivery.bus import Confirmation
from metroline.agents.services.service import Handler, Service
from metroline.agents.stops.ordering import OrderedQueues
from metroline.agents.stops.service_run import ServiceRun
from metroline.agents.stops.threads import ThreadRunner
from metroline.routing.journeys.departures import Departures
from metroline.routing.journeys.retry_policy import RetryPolicy
from metroline.routing.messages.envelope import Envelope
from metroline.routing.messages.itinerary import Decision
from metroline.routing.messages.segment import Segment
from metroline.routing.outcome import Cause, Outcome
from metroline.routing.records.field_sets import NOTHING, FieldSet
from metroline.routing.records.service_view import PartialDecode, SelectedFields, ServiceView, WholeRecord
from metroline.routing.strategies import strategy_named

GIVEN_UP = 8
"""Threads that a stop gives up at their timeout, for each record that it takes at once, before it waits for one."""

HURRIED = 1.0
"""Seconds that a pack may take while a worker stops or loses partitions."""

MOST_HANDLINGS = 100
"""Sets of fields that a stop keeps a reader for; the tables of old versions may have named others."""

WHOLE_RECORD = WholeRecord()

BREATH = 0.02
"""Seconds after which a stop lets others have the event loop."""


class Stop:
    """Runs one service on the records that come to its stop and sends each on its way."""

    def __init__(
        self,
        agent_loop: AgentLoop,
        service: Service,
        pack_seconds: float,
        retry_policy: RetryPolicy,
        *,
        max_age: float | None = None,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self.agent_loop = agent_loop
        self.service = service
        self.pack_seconds = pack_seconds
        self.retry_policy = service.patient(retry_policy)
        self.max_age = max_age
        self.jitter = jitter
        self.threads = ThreadRunner(max_abandoned=GIVEN_UP * service.concurrency)
        self.queues: OrderedQueues | None = None
        if service.ordered:
            by = service.ordered if isinstance(service.ordered, str) else None
            self.queues = OrderedQueues(by, self._attempt, agent_loop.clock)
        self._ends: dict[Outcome, Decision] = {}
        self._handlings: dict[FieldSet, ServiceView] = {}

    async def handle(self, envelope: Envelope) -> list[Confirmation]:
        """Handles the records of an envelope and regroups them by where they go next."""
        if self.queues is not None:
            async with self.queues.turn:
                return await self._handle_in_order(envelope, self.queues)
        bus = self.agent_loop.bus
        departures = bus.departures(envelope.strategy, envelope.origin)
        runs = [self._trip(envelope, segment) for segment in self._young(envelope, departures)]
        await self._run(runs)
        for service_run in runs:
            service_run.depart(departures, self.agent_loop.clock())
        return await bus.dispatch(departures)

    async def _handle_in_order(self, envelope: Envelope, queues: OrderedQueues) -> list[Confirmation]:
        """The same, one record after the other: one that fails waits here, and so do those behind it in its lane."""
        departures = self.agent_loop.bus.departures(envelope.strategy, envelope.origin)
        held: list[Confirmation] = []
        breath = self.agent_loop.clock()
        for segment in self._young(envelope, departures):
            service_run = self._trip(envelope, segment)
            waiting: set[int] = set()
            for place, line in enumerate(segment.lines):
                key = queues.key(envelope.origin, line)
                again: Segment | None = segment.part([place])
                if not queues.is_taken(key):
                    await service_run.run_one(place)
                    again = service_run.again(place)
                if again is not None:
                    waiting.add(place)
                    held.append(queues.hold(key, replace(envelope, segments=(again,))))
                if self.agent_loop.clock() - breath > BREATH:
                    await asyncio.sleep(0)
                    breath = self.agent_loop.clock()
            service_run.taken = len(segment.lines)
            service_run.depart(departures, self.agent_loop.clock(), waiting)
        return await self.agent_loop.bus.dispatch(departures) + held

    async def _attempt(self, envelope: Envelope) -> Envelope | list[Confirmation]:
        """Tries a record that waited in its lane."""
        departures = self.agent_loop.bus.departures(envelope.strategy, envelope.origin)
        for segment in self._young(envelope, departures):
            service_run = self._trip(envelope, segment)
            await service_run.run_one(0)
            again = service_run.again(0)
            if again is not None:
                return replace(envelope, segments=(again,))
            service_run.depart(departures, self.agent_loop.clock())
        return await self.agent_loop.bus.dispatch(departures)

    def _trip(self, envelope: Envelope, segment: Segment) -> ServiceRun:
        return ServiceRun(
            self, strategy_named(envelope.strategy), self.agent_loop.rule_tables.rule_tables, envelope.origin, segment
        )

    def _young(self, envelope: Envelope, departures: Departures) -> Iterator[Segment]:
        """The segments whose journeys may go on; the others end here."""
        for segment in envelope.segments:
            age = self.agent_loop.clock() - segment.entered
            if self.max_age is None or age <= self.max_age:
                yield segment
            else:
                outcome = Outcome.dead(Cause.EXPIRED, f"{age:.0f} s old, {self.max_age:g} are allowed")
                departures.add(segment, self.end(outcome).move(self.service.name))

    async def call(self, handler: Handler, record: dict[str, Any]) -> Any:
        """What a service says of a record that is awaited or runs in a thread."""
        return await (handler(record) if self.service.is_async else self.threads.run(handler, record))

    async def _run(self, runs: Iterable[ServiceRun]) -> None:
        """Runs the service on the records of all trips, on as many at once as it takes."""
        deadline = self.agent_loop.clock() + self.pack_seconds
        if self.service.is_plain:
            await self._run_plainly(runs, deadline)
            return
        waiting = ((service_run, place) for service_run in runs for place in range(len(service_run.lines)))
        if self.service.concurrency == 1:
            await self._run_each(waiting, deadline)
        else:
            await asyncio.gather(*(self._run_each(waiting, deadline) for _ in range(self.service.concurrency)))

    async def _run_plainly(self, runs: Iterable[ServiceRun], deadline: float) -> None:
        """The same for a plain function, as far as the time goes; at least one record is handled."""
        for service_run in runs:
            while service_run.taken < len(service_run.lines):
                service_run.run(self.agent_loop.clock, BREATH)
                if self._is_over(deadline, self.agent_loop.clock()):
                    return
                await asyncio.sleep(0)

    async def _run_each(self, waiting: Iterator[tuple[ServiceRun, int]], deadline: float) -> None:
        """Takes one record after the other, at least one, until there are no more or the time is up."""
        clock = self.agent_loop.clock
        breath = clock()
        for service_run, place in waiting:
            service_run.taken += 1
            await service_run.run_async(place)
            now = clock()
            if self._is_over(deadline, now):
                return
            if now - breath > BREATH:
                await asyncio.sleep(0)
                breath = clock()

    def _is_over(self, deadline: float, now: float) -> bool:
        """Whether the rest of a pack goes back to the stop: after `pack_seconds`, or earlier where all is to end."""
        return now > deadline or (self.agent_loop.is_draining and now > deadline - self.pack_seconds + HURRIED)

    def end(self, outcome: Outcome) -> Decision:
        """The end of a journey that the service itself decided; equal ends are the same object."""
        found = self._ends.get(outcome)
        if found is None:
            if len(self._ends) > 1_000:
                self._ends.clear()
            found = self._ends[outcome] = Decision(None, outcome, None, 0, NOTHING)
        return found

    def handling(self, needed_fields: FieldSet) -> ServiceView:
        """How records are read and written here, where `needed_fields` is what the strategy needs to know of them."""
        if self.service.reads is None:
            return WHOLE_RECORD
        found = self._handlings.get(needed_fields)
        if found is None:
            if len(self._handlings) > MOST_HANDLINGS:
                self._handlings.clear()
            reads = self.service.reads
            found = SelectedFields(reads) if needed_fields is None else PartialDecode(reads, needed_fields)
        if isinstance(found, PartialDecode):
            found = found.grown()
        self._handlings[needed_fields] = found
        return found
