"""The wrapper of a service: one Faust agent for each stop, written once."""

from __future__ import annotations

import asyncio
import traceback
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import orjson

from agents.bus import Confirmation, Departures
from agents.carrying import Carrier
from agents.line import Service
from routing.envelope import Envelope, Segment
from routing.itinerary import Course, Decision, have_changed
from routing.outcome import Cause, Drop, Ending, Outcome, Retry
from routing.strategies import NOTHING, Books, Strategy, strategy_named
from routing.values import as_sent, united

BREATH = 0.02
"""Seconds after which a stop lets others have the event loop."""


class Stop:
    """Runs one service on the records that come to its stop and sends each on its way."""

    def __init__(self, carrier: Carrier, service: Service, pack_seconds: float) -> None:
        self.carrier = carrier
        self.service = service
        self.pack_seconds = pack_seconds
        self._ends: dict[Outcome, Decision] = {}

    async def handle(self, envelope: Envelope) -> list[Confirmation]:
        """Handles the records of an envelope and regroups them by where they go next."""
        bus, books = self.carrier.bus, self.carrier.books.books
        strategy = strategy_named(envelope.strategy)
        departures = bus.departures(envelope.strategy, envelope.origin)
        trips = [_Trip(self, strategy, books, segment) for segment in envelope.segments]
        await self._run(trips)
        for trip in trips:
            trip.depart(departures, self.carrier.clock())
        return await bus.dispatch(departures)

    async def _run(self, trips: Iterable[_Trip]) -> None:
        """Runs the service on the records of all trips, on as many at once as it takes."""
        deadline = self.carrier.clock() + self.pack_seconds
        if not self.service.is_async:
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
                if self.carrier.clock() > deadline:
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
            if now > deadline:
                return
            if now - breath > BREATH:
                await asyncio.sleep(0)
                breath = clock()

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

    def __init__(self, stop: Stop, strategy: Strategy, books: Books, segment: Segment) -> None:
        self.stop = stop
        self.strategy = strategy
        self.books = books
        self.segment = segment
        self.watches = strategy.watches(segment.itinerary)
        self.keeps = united([self.watches, strategy.reader(books, stop.service.name).reads])
        self.lines: list[bytes] = list(segment.lines)
        self.ends: dict[int, Course] = {}
        """The courses of those records that do not go on, by their places."""
        self.before: list[dict[str, Any]] = [{}] * len(segment.lines)
        """What is watched of each record, as it came."""
        self.after: list[dict[str, Any]] = [{}] * len(segment.lines)
        """What decides on the way of each record, and what is watched of it, as the service left it."""
        self.taken = 0
        """How many records, from the first on, were handled in time."""

    def depart(self, departures: Departures, at: float) -> None:
        """Sends on what was handled, and back to the stop what was not."""
        name, every = self.stop.service.name, len(self.lines)
        if self.taken < every:
            departures.postpone(self.segment.part(range(self.taken, every)), name)
        if self.taken:
            handled = self.segment.part(range(self.taken)).visited(name, at)
            departures.add_courses(replace(handled, lines=tuple(self.lines[: self.taken])), self._courses(), name)

    def _courses(self) -> Sequence[Course]:
        """The ways of the records that were handled."""
        if not self.ends:
            return self._leave(range(self.taken))
        left = [place for place in range(self.taken) if place not in self.ends]
        courses = self.ends | dict(zip(left, self._leave(left), strict=True))
        return [courses[place] for place in range(self.taken)]

    def _leave(self, places: Sequence[int]) -> Sequence[Course]:
        after = [self.after[place] for place in places]
        changed = have_changed([self.before[place] for place in places], after, self.watches)
        return self.strategy.leave(self.books, self.stop.service.name, after, self.segment.itinerary, changed)

    def run(self, clock: Callable[[], float], seconds: float) -> None:
        """Runs a plain service on the records that are left, for so long. One it cannot handle ends here as it came."""
        handler, until = self.stop.service.handler, clock() + seconds
        for place in range(self.taken, len(self.lines)):
            self.taken += 1
            record = self._read(place)
            if record is None:
                continue
            try:
                result = handler(record)
            except BaseException as error:  # a service may raise anything, SystemExit too: it becomes a dead letter
                if is_end_of_worker(error):
                    raise
                self._end(place, Outcome.dead(Cause.SERVICE_ERROR, described(error)))
            else:
                self._answered(place, result)
            if clock() > until:
                return

    async def run_async(self, place: int) -> None:
        """The same for a service that is awaited."""
        record = self._read(place)
        if record is None:
            return
        try:
            result = await self.stop.service.handler(record)
        except BaseException as error:
            if is_end_of_worker(error):
                raise
            self._end(place, Outcome.dead(Cause.SERVICE_ERROR, described(error)))
        else:
            self._answered(place, result)

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
            self._end(place, verdict(result))
            return
        try:
            self.lines[place] = orjson.dumps(result)
        except TypeError as error:  # orjson.JSONEncodeError is one
            self._end(place, Outcome.dead(Cause.NOT_ENCODABLE, str(error)))
        else:
            self.after[place] = as_sent(result, self.keeps)

    def _end(self, place: int, outcome: Outcome) -> None:
        self.ends[place] = self.stop.end(outcome)


def is_end_of_worker(error: BaseException) -> bool:
    """Whether it comes from outside of the service: this worker ends, and the record is handled again elsewhere."""
    if isinstance(error, asyncio.CancelledError):
        task = asyncio.current_task()
        return task is not None and task.cancelling() > 0
    return isinstance(error, (KeyboardInterrupt, GeneratorExit))


def verdict(result: Any) -> Outcome:
    """The outcome that a service's answer stands for when it is not a record."""
    if isinstance(result, Drop):
        return Outcome(Ending.DROPPED, result.reason)
    if isinstance(result, Retry):
        return Outcome.dead(Cause.RETRIES_EXHAUSTED, result.reason)
    return Outcome.dead(Cause.BAD_RETURN, f"{type(result).__name__}, not a dict, Drop or Retry")


def described(error: BaseException) -> str:
    """An exception as a dead letter names it: type, text, and the last place in the service's own code."""
    frames = traceback.extract_tb(error.__traceback__)
    place = f" ({Path(frames[-1].filename).name}:{frames[-1].lineno} in {frames[-1].name})" if frames else ""
    return f"{type(error).__name__}: {error}"[:1_000] + place
