"""A stop: the agent that runs one service on the records of its topic."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator, Sequence

from msgspec.structs import replace

from metroline.agents.delivery.agent_loop import AgentLoop
from metroline.agents.delivery.pacing import SLICE_SECONDS
from metroline.agents.delivery.unit_of_work import UnitOfWork, confirmed_unit
from metroline.agents.kafka.producer import Confirmation
from metroline.agents.services.service import Service
from metroline.agents.stops.batch_calls import BatchCalls
from metroline.agents.stops.bounded_calls import BoundedCalls
from metroline.agents.stops.calls import calls_of
from metroline.agents.stops.concurrency import ConcurrentCalls
from metroline.agents.stops.gate import Gate
from metroline.agents.stops.open_resources import OpenResources
from metroline.agents.stops.ordering import OrderedQueues
from metroline.agents.stops.service_run import ServiceRun
from metroline.agents.stops.views import ServiceViews
from metroline.agents.tables.live_rules import LiveRules
from metroline.routing.journeys.answers import Answers, StopPolicy, admit, depart, depart_in_chunks
from metroline.routing.journeys.departures import Departures
from metroline.routing.journeys.retry_policy import RetryPolicy
from metroline.routing.messages.envelope import Envelope
from metroline.routing.messages.segment import Segment
from metroline.routing.strategies import strategy_named


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
        sharers: Callable[[], int] = lambda: 1,
    ) -> None:
        """Create the stop of a service.

        `retry_policy` holds the defaults for the service. `max_age` is the maximum duration of a journey, in seconds.
        `jitter` returns a random number from 0 to 1. `sharers` returns the number of workers that share the rate of
        the service.
        """
        self.bus = agent_loop.bus
        self.clock = agent_loop.clock
        self.pacer = agent_loop.bus.pacer
        self.rules = rules
        self.service = service
        self.policy = StopPolicy(
            service.name,
            service.retry_policy_over(retry_policy),
            service.no_retry,
            service.reads,
            max_age,
            service.deadline,
        )
        self.jitter = jitter
        self._how = calls_of(service)
        self.bounded_calls = self._how if isinstance(self._how, BoundedCalls) else None
        self._views = ServiceViews(service.reads)
        self._handling = self.bus.metrics.journeys.at_stop(service.name)
        self.gate = Gate.of(service, sharers)
        self.queues: OrderedQueues | None = None
        self.calls: ConcurrentCalls | None = None
        if service.ordered:
            by = service.ordered if isinstance(service.ordered, str) else None
            self.queues = OrderedQueues(by, self._attempt, self.clock)
        elif service.batching is not None:
            self.calls = BatchCalls(self.bus, self.pacer, service, self._depart, self.gate)
        elif not service.is_immediate:
            self.calls = ConcurrentCalls(
                self.bus, self.pacer, service.name, service.concurrency, self._depart, gate=self.gate
            )

    async def connect(self, resources: OpenResources) -> None:
        """Open the resources that the service takes, and call it with them; raise a `MetrolineError` if one fails."""
        self.service = await resources.connect(self.service)
        if self.bounded_calls is not None:
            resources.calls.append(self.bounded_calls)

    async def handle(self, envelope: Envelope, unit: UnitOfWork) -> None:
        """Run the service on the records of an envelope and send them on, grouped by their next address.

        Records that have not begun when the time of the unit of work is up go back to the stop. An async or blocking
        service may still run when this returns.
        """
        if self.queues is not None:
            async with self.queues.turn:
                await self._handle_in_order(envelope, unit, self.queues)
        elif self.calls is not None:
            await self._handle_later(envelope, unit, self.calls)
        else:
            await self._handle_plain(envelope, unit)

    def accepts(self, _partition: int) -> bool:
        """Return whether the stop has room for more records at present."""
        return self.calls is None or self.calls.has_room

    async def handle_at_once(self, envelope: Envelope, unit: UnitOfWork) -> None:
        """Handle an envelope as `handle` does, but without waiting until there is room for its records."""
        if self.calls is None:
            await self.handle(envelope, unit)
            return
        departures = self.bus.departures(envelope)
        for run in self._runs(envelope, departures):
            self.calls.take(envelope, unit, run)
        await self.bus.dispatch(departures, unit)

    def cancel(self) -> None:
        """Cancel all calls of the service, because the worker stops."""
        if self.calls is not None:
            self.calls.cancel()

    async def _handle_plain(self, envelope: Envelope, unit: UnitOfWork) -> None:
        """Call a plain function on at least one record, and on the others until time is up."""
        departures = self.bus.departures(envelope)
        is_over = False
        for run in self._runs(envelope, departures):
            while run.answers.taken < len(run) and not is_over:
                run.run(self.clock, SLICE_SECONDS)
                is_over = unit.is_over(self.clock())
                await self.pacer.pause()
            leaving = depart_in_chunks(
                departures, run.answers, self.policy, self.clock(), self.jitter, clock=time.monotonic
            )
            for _ in leaving:
                await self.pacer.pause()
        await self.bus.dispatch(departures, unit)

    async def _handle_later(self, envelope: Envelope, unit: UnitOfWork, calls: ConcurrentCalls) -> None:
        """Add the records to those of an async or blocking service, as soon as there is room for them."""
        departures = self.bus.departures(envelope)
        unit.restart()
        for place, run in enumerate(self._runs(envelope, departures)):
            if calls.has_room or await calls.wait_for_room(unit, is_first=not place):
                calls.take(envelope, unit, run)
            elif not unit.is_discarded:
                depart(departures, run.answers, self.policy, self.clock(), self.jitter)
        await self.bus.dispatch(departures, unit)

    async def _handle_in_order(self, envelope: Envelope, unit: UnitOfWork, queues: OrderedQueues) -> None:
        """Handle one record after the other; a record that fails waits in its queue with the records behind it."""
        departures = self.bus.departures(envelope)
        for run in self._runs(envelope, departures):
            segment = run.answers.segment
            leaving: list[int] = []
            for place, line in enumerate(segment.lines):
                key = queues.key(envelope.origin, line)
                again: Segment | None = segment.part([place])
                if not queues.is_taken(key):
                    if self.gate is not None and not await self.gate.turn(lambda: unit.is_discarded):
                        break
                    await run.run_one(place)
                    again = self._again(run, place)
                if again is None:
                    leaving.append(place)
                else:
                    queues.hold(key, replace(envelope, segments=(again,)), unit)
                await self.pacer.pause()
            self._depart(departures, run, leaving)
        await self.bus.dispatch(departures, unit)

    async def _attempt(self, envelope: Envelope) -> Envelope | Confirmation:
        """Try a record that waited in its queue, as described by `ordering.Attempt`."""
        departures = self.bus.departures(envelope)
        for run in self._runs(envelope, departures):
            if self.gate is not None:
                await self.gate.turn()
            await run.run_one(0)
            again = self._again(run, 0)
            if again is not None:
                return replace(envelope, segments=(again,))
            self._depart(departures, run, [0])
        unit, confirmation = confirmed_unit(self.bus.work_time)
        await self.bus.dispatch_by_bus(departures, unit)
        unit.release()
        return confirmation

    def _runs(self, envelope: Envelope, departures: Departures) -> Iterator[ServiceRun]:
        """Yield a run for each segment that the service handles.

        Expired journeys end here, and records that were handled before they waited continue.
        """
        strategy, tables = strategy_named(envelope.strategy), self.rules.rule_tables
        for segment in envelope.segments:
            if admit(departures, segment, self.policy, self.clock()):
                answers = Answers(self.service.name, segment, self._views.of, strategy, tables, self.service.types)
                run = ServiceRun(
                    self.service,
                    self.policy,
                    self._how,
                    envelope.origin,
                    answers,
                    self._handling,
                    self.bus.topics.source,
                    self.clock,
                )
                if not segment.is_handled:
                    yield run
                    continue
                for place in range(len(run)):
                    run.pass_on(place)
                depart(departures, answers, self.policy, self.clock(), self.jitter)

    def _depart(self, departures: Departures, run: ServiceRun, places: Sequence[int]) -> None:
        depart(departures, run.answers, self.policy, self.clock(), self.jitter, places=places)

    def _again(self, run: ServiceRun, place: int) -> Segment | None:
        return run.answers.again(place, self.policy, self.clock(), self.jitter)
