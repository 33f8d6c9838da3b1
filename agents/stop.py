"""The wrapper of a service: one Faust agent for each stop, written once."""

from __future__ import annotations

import asyncio
import traceback
from dataclasses import replace
from pathlib import Path
from typing import Any

import orjson

from agents.bus import Confirmation, Departures
from agents.carrying import Carrier
from agents.line import Service
from routing.envelope import Envelope, Segment
from routing.itinerary import Course, Decision, watched
from routing.outcome import Cause, Drop, Ending, Outcome, Retry
from routing.strategies import NOTHING, Books, Strategy, strategy_named

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
        carrier = self.carrier
        strategy = strategy_named(envelope.strategy)
        departures = carrier.bus.departures(envelope.strategy, envelope.origin)
        started = carrier.clock()
        for segment in envelope.segments:
            await self._handle_segment(segment, strategy, departures, started)
        return await carrier.bus.dispatch(departures)

    async def _handle_segment(
        self, segment: Segment, strategy: Strategy, departures: Departures, started: float
    ) -> None:
        clock = self.carrier.clock
        trip = _Trip(self, strategy, self.carrier.books.books, segment)
        breath = clock()
        done = len(segment.lines)
        if self.service.concurrency > 1:
            await trip.run_concurrently(self.service.concurrency)
        else:
            for place, line in enumerate(segment.lines):
                now = clock()
                if place and now - started > self.pack_seconds:
                    done = place
                    break
                if now - breath > BREATH:
                    await asyncio.sleep(0)
                    breath = clock()
                await trip.run(place, line)
        if done < len(segment.lines):
            departures.postpone(segment.part(range(done, len(segment.lines))), self.service.name)
        if done:
            handled = segment.part(range(done)).visited(self.service.name, clock())
            departures.add_courses(replace(handled, lines=tuple(trip.lines[:done])), trip.courses[:done], self.service.name)

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
        self.itinerary = segment.itinerary
        self.watches = strategy.watches(segment.itinerary)
        self.lines: list[bytes] = list(segment.lines)
        self.courses: list[Course] = [stop.end(Outcome(Ending.DELIVERED))] * len(segment.lines)

    async def run_concurrently(self, limit: int) -> None:
        """Runs all records, up to `limit` at once."""
        places = asyncio.Semaphore(limit)

        async def run(place: int, line: bytes) -> None:
            async with places:
                await self.run(place, line)

        await asyncio.gather(*(run(place, line) for place, line in enumerate(self.lines)))

    async def run(self, place: int, line: bytes) -> None:
        """Runs the service on one record. A record that it could not handle ends here as it came."""
        service = self.stop.service
        try:
            record = orjson.loads(line)
            before = watched(record, self.watches) if self.watches != NOTHING else None
        except (orjson.JSONDecodeError, AttributeError) as error:
            self.courses[place] = self.stop.end(Outcome.dead(Cause.MALFORMED_RECORD, str(error)))
            return
        try:
            result = service.handler(record)
            if service.is_async:
                result = await result
        except Exception as error:  # a service may raise anything: it becomes a dead letter
            self.courses[place] = self.stop.end(Outcome.dead(Cause.SERVICE_ERROR, described(error)))
            return
        if type(result) is dict:
            self._leave(place, result, before)
        else:
            self.courses[place] = self.stop.end(verdict(result))

    def _leave(self, place: int, record: dict[str, Any], before: Any) -> None:
        try:
            self.lines[place] = orjson.dumps(record)
            changed = before is not None and watched(record, self.watches) != before
            self.courses[place] = self.strategy.leave(
                self.books, self.stop.service.name, record, self.itinerary, changed=changed
            )
        except TypeError as error:  # orjson.JSONEncodeError is one
            self.courses[place] = self.stop.end(Outcome.dead(Cause.NOT_ENCODABLE, str(error)))


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
