"""The records of one segment at a stop: each is read, handled by the service, and written as it goes on."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from metroline.agents.services.service import Handler
from metroline.routing.errors import MalformedRecord
from metroline.routing.journeys.departures import Departures
from metroline.routing.messages.itinerary import NextStep
from metroline.routing.messages.record_ids import Origin, id_text
from metroline.routing.messages.segment import Attempts, Segment
from metroline.routing.outcome import Cause, Drop, Ending, Outcome, Retry, told
from metroline.routing.records.field_sets import NOTHING, union
from metroline.routing.records.fingerprints import as_sent, have_changed
from metroline.routing.records.service_view import Opened
from metroline.routing.service_errors import described
from metroline.routing.strategies import RuleTables, Strategy

if TYPE_CHECKING:
    from metroline.agents.stops.stop import Stop

CHUNK = 32
"""Records that are read together, so that they are still at hand when they are written."""

LONGEST_WAIT = 30 * 24 * 3600.0
"""What a service may ask for, in seconds."""


class ServiceRun:
    """Takes the records of a segment through the service: their new lines and their courses."""

    def __init__(
        self, stop: Stop, strategy: Strategy, rule_tables: RuleTables, origin: Origin, segment: Segment
    ) -> None:
        self.stop = stop
        self.strategy = strategy
        self.rule_tables = rule_tables
        self.origin = origin
        self.segment = segment
        self.plan_fields = strategy.plan_fields(segment.itinerary)
        self.needed_fields = union([self.plan_fields, strategy.reader(rule_tables, stop.service.name).reads])
        self.handling = stop.handling(self.needed_fields)
        self.handler = stop.service.handler
        self.takes_id = stop.service.takes_id
        self.lines: list[bytes] = list(segment.lines)
        self.ends: dict[int, NextStep] = {}
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
            departures.send_back(self.segment.part(range(self.taken, every)), name)
        for failure, failed in _grouped(self.failed):
            self._depart_failed(departures, failure, self.segment.part(failed), at)
        places: Sequence[int] = range(self.taken)
        if self.failed or held:
            places = [place for place in places if place not in self.failed and place not in held]
        if places:
            handled = self.segment.part(places).visited(name, at)
            lines = tuple(self.lines if len(places) == every else [self.lines[place] for place in places])
            departures.add_next_steps(replace(handled, lines=lines), self._next_steps(places), name)

    def _depart_failed(self, departures: Departures, failure: _Failure, segment: Segment, at: float) -> None:
        """Sends on what could not be handled: to another attempt or, after the last one, to the dead letters."""
        name = self.stop.service.name
        attempts, wait = self._tries(failure, segment, at)
        if wait is None:
            dead = replace(segment.visited(name, at), attempts=attempts)
            departures.add(dead, self.stop.end(failure.outcome).move(name))
        else:
            departures.send_back(replace(segment, attempts=attempts), name, wait)

    def _tries(self, failure: _Failure, segment: Segment, at: float) -> tuple[Attempts, float | None]:
        """All attempts so far with this one, and how long to wait for the next; None after the last."""
        name, retry_policy = self.stop.service.name, self.stop.retry_policy
        earlier = segment.attempts.causes if segment.attempts is not None and segment.attempts.stop == name else ()
        causes = (*earlier, failure.outcome.reason or "")
        if len(causes) >= retry_policy.attempts:
            return Attempts(name, causes, at), None
        wait = failure.after or retry_policy.wait(len(causes), self.stop.jitter())
        return Attempts(name, causes, at + wait), wait

    async def run_one(self, place: int) -> None:
        """Runs the service on one record."""
        if self.stop.service.is_plain:
            self._run_plain(place)
        else:
            self.taken = place + 1
            await self.run_async(place)

    def again(self, place: int) -> Segment | None:
        """The record by itself with its tries, if it failed and shall be tried again."""
        failure = self.failed.get(place)
        if failure is None:
            return None
        segment = self.segment.part([place])
        attempts, wait = self._tries(failure, segment, self.stop.agent_loop.clock())
        if wait is None:
            return None
        del self.failed[place]
        return replace(segment, attempts=attempts)

    def _next_steps(self, places: Sequence[int]) -> Sequence[NextStep]:
        """The ways of the records that were handled."""
        if not self.ends:
            return self._leave(places)
        left = [place for place in places if place not in self.ends]
        next_steps = self.ends | dict(zip(left, self._leave(left), strict=True))
        return [next_steps[place] for place in places]

    def _leave(self, places: Sequence[int]) -> Sequence[NextStep]:
        after = [self.after[place] for place in places]
        changed = have_changed([self.before[place] for place in places], after, self.plan_fields)
        return self.strategy.leave(self.rule_tables, self.stop.service.name, after, self.segment.itinerary, changed)

    def run(self, clock: Callable[[], float], seconds: float) -> None:
        """Runs a plain service on the records that are left, for so long. One it cannot handle ends here as it came."""
        until = clock() + seconds
        while self.taken < len(self.lines):
            lines = self.lines[self.taken : self.taken + CHUNK]
            try:
                opened = self.handling.open_all(lines)
            except MalformedRecord:
                self._run_plain(self.taken)
            else:
                self._run_on(opened, clock, until)
            if clock() > until:
                return

    def _run_plain(self, place: int) -> None:
        """Runs a plain service on one record."""
        self.taken = place
        opened = self._open(place)
        if opened is None:
            self.taken += 1
        else:
            self._run_on([opened], time.monotonic, 0.0)

    def _run_on(self, opened: Sequence[Opened], clock: Callable[[], float], until: float) -> None:
        """Runs a plain service on one record at least, and on the others until the time is over."""
        handler, plan_fields = self.handler, self.plan_fields
        for known, handed in opened:
            place = self.taken
            self.taken = place + 1
            if plan_fields != NOTHING:
                self.before[place] = as_sent(known, plan_fields)
            try:
                result = handler(handed) if not self.takes_id else self._handler(place)(handed)
            except BaseException as error:  # a service may raise anything, SystemExit too: it becomes a dead letter
                if is_end_of_worker(error):
                    raise
                self._raised(place, error)
            else:
                self._answered(place, known, result)
            if clock() > until:
                return

    async def run_async(self, place: int) -> None:
        """The same for a service that is awaited or runs in a thread."""
        opened = self._open(place)
        if opened is None:
            return
        known, handed = opened
        if self.plan_fields != NOTHING:
            self.before[place] = as_sent(known, self.plan_fields)
        handler = self._handler(place) if self.takes_id else self.handler
        seconds = self.stop.retry_policy.timeout
        try:
            async with asyncio.timeout(seconds) as limit:
                result = await self.stop.call(handler, handed)
        except BaseException as error:
            if is_end_of_worker(error):
                raise
            if limit.expired():
                self.failed[place] = _Failure(Outcome.dead(Cause.TIMEOUT, f"no answer within {seconds:g} s"))
            else:
                self._raised(place, error)
        else:
            self._answered(place, known, result)

    def _handler(self, place: int) -> Handler:
        return self.stop.service.handler_of(id_text(self.origin, self.segment.ids[place]))

    def _open(self, place: int) -> Opened | None:
        """What is known of the record and what the service is handed, for this attempt alone.

        None for a line that is no record, whose journey ends.
        """
        try:
            return self.handling.open(self.lines[place])
        except MalformedRecord as error:
            self._end(place, Outcome.dead(Cause.MALFORMED_RECORD, str(error)))
            return None

    def _answered(self, place: int, known: dict[str, Any], result: Any) -> None:
        """Takes the record as it is now: a service may keep it and change it later."""
        if not isinstance(result, dict):
            if isinstance(result, Retry) and _is_wait(result.after):
                self.failed[place] = _Failure(Outcome.dead(Cause.RETRIES_EXHAUSTED, result.reason), result.after)
            else:
                self._end(place, verdict(result))
            return
        try:
            self.lines[place] = self.handling.close(self.lines[place], known, result)
        except TypeError as error:  # orjson.JSONEncodeError is one
            self._end(place, Outcome.dead(Cause.NOT_ENCODABLE, str(error)))
            return
        except MalformedRecord as error:
            self._end(place, Outcome.dead(Cause.MALFORMED_RECORD, str(error)))
            return
        if self.needed_fields != NOTHING:
            self.after[place] = as_sent(self.handling.left(known, result), self.needed_fields)

    def _raised(self, place: int, error: BaseException) -> None:
        outcome = Outcome.dead(Cause.SERVICE_ERROR, described(error, self._hint(error)))
        if isinstance(error, self.stop.service.no_retry):
            self._end(place, outcome)
        else:
            self.failed[place] = _Failure(outcome)

    def _hint(self, error: BaseException) -> str:
        """What a service may not know that misses a field which it was not handed."""
        reads = self.stop.service.reads
        missed = error.args[0] if isinstance(error, KeyError) and error.args else None
        if reads is None or type(missed) is not str or missed in reads:
            return ""
        return f"; reads= hands it {', '.join(sorted(reads)) or 'nothing'}"

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
