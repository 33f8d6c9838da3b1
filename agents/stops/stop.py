"""The wrapper of a service: one Faust agent for each stop, written once."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from typing import Any

from metroline.agents.delivery.agent_loop import Carrier
from metroline.agents.delivery.bus import Confirmation, Departures
from metroline.agents.services.service import Handler, Service
from metroline.agents.stops.ordering import Lanes
from metroline.agents.stops.service_run import Trip
from metroline.agents.stops.threads import Threads
from metroline.routing.journeys.retry_policy import Patience
from metroline.routing.messages.envelope import Envelope, Segment
from metroline.routing.messages.itinerary import Decision
from metroline.routing.outcome import Cause, Outcome
from metroline.routing.records.fingerprints import Reads
from metroline.routing.records.service_view import Excerpt, Handling, Part, Whole
from metroline.routing.strategies import NOTHING, strategy_named

GIVEN_UP = 8
"""Threads that a stop gives up at their timeout, for each record that it takes at once, before it waits for one."""

HURRIED = 1.0
"""Seconds that a pack may take while a worker stops or loses partitions."""

MOST_HANDLINGS = 100
"""Sets of fields that a stop keeps a reader for; the tables of old versions may have named others."""

WHOLE = Whole()

BREATH = 0.02
"""Seconds after which a stop lets others have the event loop."""


class Stop:
    """Runs one service on the records that come to its stop and sends each on its way."""

    def __init__(
        self,
        carrier: Carrier,
        service: Service,
        pack_seconds: float,
        patience: Patience,
        *,
        max_age: float | None = None,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self.carrier = carrier
        self.service = service
        self.pack_seconds = pack_seconds
        self.patience = service.patient(patience)
        self.max_age = max_age
        self.chance = chance
        self.threads = Threads(most_given_up=GIVEN_UP * service.concurrency)
        self.lanes: Lanes | None = None
        if service.ordered:
            by = service.ordered if isinstance(service.ordered, str) else None
            self.lanes = Lanes(by, self._attempt, carrier.clock)
        self._ends: dict[Outcome, Decision] = {}
        self._handlings: dict[Reads, Handling] = {}

    async def handle(self, envelope: Envelope) -> list[Confirmation]:
        """Handles the records of an envelope and regroups them by where they go next."""
        if self.lanes is not None:
            async with self.lanes.turn:
                return await self._handle_in_order(envelope, self.lanes)
        bus = self.carrier.bus
        departures = bus.departures(envelope.strategy, envelope.origin)
        trips = [self._trip(envelope, segment) for segment in self._young(envelope, departures)]
        await self._run(trips)
        for trip in trips:
            trip.depart(departures, self.carrier.clock())
        return await bus.dispatch(departures)

    async def _handle_in_order(self, envelope: Envelope, lanes: Lanes) -> list[Confirmation]:
        """The same, one record after the other: one that fails waits here, and so do those behind it in its lane."""
        departures = self.carrier.bus.departures(envelope.strategy, envelope.origin)
        held: list[Confirmation] = []
        breath = self.carrier.clock()
        for segment in self._young(envelope, departures):
            trip = self._trip(envelope, segment)
            waiting: set[int] = set()
            for place, line in enumerate(segment.lines):
                key = lanes.key(envelope.origin, line)
                again: Segment | None = segment.part([place])
                if not lanes.is_taken(key):
                    await trip.run_one(place)
                    again = trip.again(place)
                if again is not None:
                    waiting.add(place)
                    held.append(lanes.hold(key, replace(envelope, segments=(again,))))
                if self.carrier.clock() - breath > BREATH:
                    await asyncio.sleep(0)
                    breath = self.carrier.clock()
            trip.taken = len(segment.lines)
            trip.depart(departures, self.carrier.clock(), waiting)
        return await self.carrier.bus.dispatch(departures) + held

    async def _attempt(self, envelope: Envelope) -> Envelope | list[Confirmation]:
        """Tries a record that waited in its lane."""
        departures = self.carrier.bus.departures(envelope.strategy, envelope.origin)
        for segment in self._young(envelope, departures):
            trip = self._trip(envelope, segment)
            await trip.run_one(0)
            again = trip.again(0)
            if again is not None:
                return replace(envelope, segments=(again,))
            trip.depart(departures, self.carrier.clock())
        return await self.carrier.bus.dispatch(departures)

    def _trip(self, envelope: Envelope, segment: Segment) -> Trip:
        return Trip(self, strategy_named(envelope.strategy), self.carrier.books.books, envelope.origin, segment)

    def _young(self, envelope: Envelope, departures: Departures) -> Iterator[Segment]:
        """The segments whose journeys may go on; the others end here."""
        for segment in envelope.segments:
            age = self.carrier.clock() - segment.entered
            if self.max_age is None or age <= self.max_age:
                yield segment
            else:
                outcome = Outcome.dead(Cause.EXPIRED, f"{age:.0f} s old, {self.max_age:g} are allowed")
                departures.add(segment, self.end(outcome).move(self.service.name))

    async def call(self, handler: Handler, record: dict[str, Any]) -> Any:
        """What a service says of a record that is awaited or runs in a thread."""
        return await (handler(record) if self.service.is_async else self.threads.run(handler, record))

    async def _run(self, trips: Iterable[Trip]) -> None:
        """Runs the service on the records of all trips, on as many at once as it takes."""
        deadline = self.carrier.clock() + self.pack_seconds
        if self.service.is_plain:
            await self._run_plainly(trips, deadline)
            return
        waiting = ((trip, place) for trip in trips for place in range(len(trip.lines)))
        if self.service.concurrency == 1:
            await self._run_each(waiting, deadline)
        else:
            await asyncio.gather(*(self._run_each(waiting, deadline) for _ in range(self.service.concurrency)))

    async def _run_plainly(self, trips: Iterable[Trip], deadline: float) -> None:
        """The same for a plain function, as far as the time goes; at least one record is handled."""
        for trip in trips:
            while trip.taken < len(trip.lines):
                trip.run(self.carrier.clock, BREATH)
                if self._is_over(deadline, self.carrier.clock()):
                    return
                await asyncio.sleep(0)

    async def _run_each(self, waiting: Iterator[tuple[Trip, int]], deadline: float) -> None:
        """Takes one record after the other, at least one, until there are no more or the time is up."""
        clock = self.carrier.clock
        breath = clock()
        for trip, place in waiting:
            trip.taken += 1
            await trip.run_async(place)
            now = clock()
            if self._is_over(deadline, now):
                return
            if now - breath > BREATH:
                await asyncio.sleep(0)
                breath = clock()

    def _is_over(self, deadline: float, now: float) -> bool:
        """Whether the rest of a pack goes back to the stop: after `pack_seconds`, or earlier where all is to end."""
        return now > deadline or (self.carrier.hurries and now > deadline - self.pack_seconds + HURRIED)

    def end(self, outcome: Outcome) -> Decision:
        """The end of a journey that the service itself decided; equal ends are the same object."""
        found = self._ends.get(outcome)
        if found is None:
            if len(self._ends) > 1_000:
                self._ends.clear()
            found = self._ends[outcome] = Decision(None, outcome, None, 0, NOTHING)
        return found

    def handling(self, keeps: Reads) -> Handling:
        """How records are read and written here, where `keeps` is what the strategy needs to know of them."""
        if self.service.reads is None:
            return WHOLE
        found = self._handlings.get(keeps)
        if found is None:
            if len(self._handlings) > MOST_HANDLINGS:
                self._handlings.clear()
            reads = self.service.reads
            found = Part(reads) if keeps is None else Excerpt(reads, keeps)
        if isinstance(found, Excerpt):
            found = found.grown()
        self._handlings[keeps] = found
        return found
