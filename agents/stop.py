"""The wrapper of a service: one Faust agent for each stop, written once."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import orjson

from agents.bus import Confirmation, Departures
from agents.carrying import Carrier
from agents.lanes import Lanes
from agents.line import Handler, Patience, Service
from agents.threads import Threads
from routing.envelope import Envelope, Origin, Segment, Tries, id_text
from routing.failure import described
from routing.itinerary import Course, Decision, have_changed
from routing.outcome import Cause, Drop, Ending, Outcome, Retry, told
from routing.strategies import NOTHING, Books, Strategy, strategy_named
from routing.values import as_sent, united

GIVEN_UP = 8
"""Threads that a stop gives up at their timeout, for each record that it takes at once, before it waits for one."""

LONGEST_WAIT = 30 * 24 * 3600.0
"""What a service may ask for, in seconds."""

HURRIED = 1.0
"""Seconds that a pack may take while a worker stops or loses partitions."""

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

    def _trip(self, envelope: Envelope, segment: Segment) -> _Trip:
        return _Trip(self, strategy_named(envelope.strategy), self.carrier.books.books, envelope.origin, segment)

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

    async def _run(self, trips: Iterable[_Trip]) -> None:
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

    async def _run_plainly(self, trips: Iterable[_Trip], deadline: float) -> None:
        """The same for a plain function, as far as the time goes; at least one record is handled."""
        for trip in trips:
            while trip.taken < len(trip.lines):
                trip.run(self.carrier.clock, BREATH)
                if self._is_over(deadline, self.carrier.clock()):
                    return
                await asyncio.sleep(0)

    async def _run_each(self, waiting: Iterator[tuple[_Trip, int]], deadline: float) -> None:
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


class _Trip:
    """The records of one segment on their way through the service: their new lines and their courses."""

    def __init__(self, stop: Stop, strategy: Strategy, books: Books, origin: Origin, segment: Segment) -> None:
        self.stop = stop
        self.strategy = strategy
        self.books = books
        self.origin = origin
        self.segment = segment
        self.watches = strategy.watches(segment.itinerary)
        self.keeps = united([self.watches, strategy.reader(books, stop.service.name).reads])
        self.lines: list[bytes] = list(segment.lines)
        self.ends: dict[int, Course] = {}
        """The courses of those records that do not go on, by their places."""
        self.failed: dict[int, _Failure] = {}
        """Those records that may be tried again."""
        self.before: list[dict[str, Any]] = [{}] * len(segment.lines)
        """What is watched of each record, as it came."""
        self.after: list[dict[str, Any]] = [{}] * len(segment.lines)
        """What decides on the way of each record, and what is watched of it, as the service left it."""
        self.taken = 0
        """How many records, from the first on, were handled in time."""

    def depart(self, departures: Departures, at: float, held: Collection[int] = ()) -> None:
        """Sends on what was handled, and back to the stop what was not; what is held stays."""
        name, every = self.stop.service.name, len(self.lines)
        if self.taken < every:
            departures.postpone(self.segment.part(range(self.taken, every)), name)
        for failure, places in _grouped(self.failed):
            self._depart_failed(departures, failure, self.segment.part(places), at)
        places = [place for place in range(self.taken) if place not in self.failed and place not in held]
        if places:
            handled = self.segment.part(places).visited(name, at)
            lines = tuple([self.lines[place] for place in places])
            departures.add_courses(replace(handled, lines=lines), self._courses(places), name)

    def _depart_failed(self, departures: Departures, failure: _Failure, segment: Segment, at: float) -> None:
        """Sends on what could not be handled: to another attempt or, after the last one, to the dead letters."""
        name = self.stop.service.name
        tries, wait = self._tries(failure, segment, at)
        if wait is None:
            dead = replace(segment.visited(name, at), tries=tries)
            departures.add(dead, self.stop.end(failure.outcome).move(name))
        else:
            departures.postpone(replace(segment, tries=tries), name, wait)

    def _tries(self, failure: _Failure, segment: Segment, at: float) -> tuple[Tries, float | None]:
        """All attempts so far with this one, and how long to wait for the next; None after the last."""
        name, patience = self.stop.service.name, self.stop.patience
        earlier = segment.tries.causes if segment.tries is not None and segment.tries.stop == name else ()
        causes = (*earlier, failure.outcome.reason or "")
        if len(causes) >= patience.attempts:
            return Tries(name, causes, at), None
        wait = failure.after or patience.wait(len(causes), self.stop.chance())
        return Tries(name, causes, at + wait), wait

    async def run_one(self, place: int) -> None:
        """Runs the service on one record."""
        self.taken = max(self.taken, place + 1)
        if self.stop.service.is_plain:
            self._run_plain(place)
        else:
            await self.run_async(place)

    def again(self, place: int) -> Segment | None:
        """The record by itself with its tries, if it failed and shall be tried again."""
        failure = self.failed.get(place)
        if failure is None:
            return None
        segment = self.segment.part([place])
        tries, wait = self._tries(failure, segment, self.stop.carrier.clock())
        if wait is None:
            return None
        del self.failed[place]
        return replace(segment, tries=tries)

    def _courses(self, places: Sequence[int]) -> Sequence[Course]:
        """The ways of the records that were handled."""
        if not self.ends:
            return self._leave(places)
        left = [place for place in places if place not in self.ends]
        courses = self.ends | dict(zip(left, self._leave(left), strict=True))
        return [courses[place] for place in places]

    def _leave(self, places: Sequence[int]) -> Sequence[Course]:
        after = [self.after[place] for place in places]
        changed = have_changed([self.before[place] for place in places], after, self.watches)
        return self.strategy.leave(self.books, self.stop.service.name, after, self.segment.itinerary, changed)

    def run(self, clock: Callable[[], float], seconds: float) -> None:
        """Runs a plain service on the records that are left, for so long. One it cannot handle ends here as it came."""
        until = clock() + seconds
        for place in range(self.taken, len(self.lines)):
            self.taken += 1
            self._run_plain(place)
            if clock() > until:
                return

    def _run_plain(self, place: int) -> None:
        record = self._read(place)
        if record is None:
            return
        try:
            result = self._handler(place)(record)
        except BaseException as error:  # a service may raise anything, SystemExit too: it becomes a dead letter
            if is_end_of_worker(error):
                raise
            self._raised(place, error)
        else:
            self._answered(place, result)

    async def run_async(self, place: int) -> None:
        """The same for a service that is awaited or runs in a thread."""
        record = self._read(place)
        if record is None:
            return
        seconds = self.stop.patience.timeout
        try:
            async with asyncio.timeout(seconds) as limit:
                result = await self.stop.call(self._handler(place), record)
        except BaseException as error:
            if is_end_of_worker(error):
                raise
            if limit.expired():
                self.failed[place] = _Failure(Outcome.dead(Cause.TIMEOUT, f"no answer within {seconds:g} s"))
            else:
                self._raised(place, error)
        else:
            self._answered(place, result)

    def _handler(self, place: int) -> Handler:
        service = self.stop.service
        if not service.takes_id:
            return service.handler
        return service.handler_of(id_text(self.origin, self.segment.ids[place]))

    def _read(self, place: int) -> dict[str, Any] | None:
        """The record, for this attempt alone; None for a line that is none, whose journey ends."""
        problem = "no JSON object"
        try:
            record = orjson.loads(self.lines[place])
        except orjson.JSONDecodeError as error:
            record, problem = None, f"no JSON: {error}"
        if type(record) is not dict:
            self._end(place, Outcome.dead(Cause.MALFORMED_RECORD, problem))
            return None
        if self.watches != NOTHING:
            self.before[place] = as_sent(record, self.watches)
        return record

    def _answered(self, place: int, result: Any) -> None:
        """Takes the record as it is now: a service may keep it and change it later."""
        if not isinstance(result, dict):
            if isinstance(result, Retry) and _is_wait(result.after):
                self.failed[place] = _Failure(Outcome.dead(Cause.RETRIES_EXHAUSTED, result.reason), result.after)
            else:
                self._end(place, verdict(result))
            return
        try:
            self.lines[place] = orjson.dumps(result)
        except TypeError as error:  # orjson.JSONEncodeError is one
            self._end(place, Outcome.dead(Cause.NOT_ENCODABLE, str(error)))
        else:
            self.after[place] = as_sent(result, self.keeps)

    def _raised(self, place: int, error: BaseException) -> None:
        outcome = Outcome.dead(Cause.SERVICE_ERROR, described(error))
        if isinstance(error, self.stop.service.no_retry):
            self._end(place, outcome)
        else:
            self.failed[place] = _Failure(outcome)

    def _end(self, place: int, outcome: Outcome) -> None:
        self.ends[place] = self.stop.end(outcome)


@dataclass(frozen=True, slots=True)
class _Failure:
    """Why an attempt failed, as the outcome that it is after the last one, and how long the service wants to wait."""

    outcome: Outcome
    after: float = 0.0


def _grouped(failed: dict[int, _Failure]) -> Iterator[tuple[_Failure, list[int]]]:
    """Failures with the places of those records that failed alike, which wait together."""
    groups: dict[_Failure, list[int]] = {}
    for place, failure in sorted(failed.items()):
        groups.setdefault(failure, []).append(place)
    yield from groups.items()


def _is_wait(seconds: Any) -> bool:
    return type(seconds) in (int, float) and 0 <= seconds <= LONGEST_WAIT


def is_end_of_worker(error: BaseException) -> bool:
    """Whether it comes from outside of the service: this worker ends, and the record is handled again elsewhere."""
    if isinstance(error, asyncio.CancelledError):
        task = asyncio.current_task()
        return task is not None and task.cancelling() > 0
    return isinstance(error, (KeyboardInterrupt, GeneratorExit))


def verdict(result: Any) -> Outcome:
    """The outcome that a service's answer stands for when it is not a record."""
    if isinstance(result, Drop):
        if not isinstance(result.reason, str):
            return Outcome.dead(Cause.BAD_RETURN, f"Drop({result.reason!r}): a reason is a text")
        return Outcome(Ending.DROPPED, told(result.reason))
    if isinstance(result, Retry):
        return Outcome.dead(Cause.BAD_RETURN, f"Retry(after={result.after!r}): 0 to {LONGEST_WAIT:.0f} s are allowed")
    return Outcome.dead(Cause.BAD_RETURN, f"{type(result).__name__}, not a dict, Drop or Retry")
