"""Calls the service of a stop for the records of one segment."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from metroline.agents.delivery.journey_metrics import HandlingTime
from metroline.agents.services.service import Handler, Service
from metroline.agents.stops.calls import Calls
from metroline.agents.stops.containment import LoopBlocked, plain_calls
from metroline.routing.errors import MalformedRecord, SchemaMismatch
from metroline.routing.journeys.answers import Answers, StopPolicy
from metroline.routing.messages.record_ids import Origin, id_text
from metroline.routing.messages.segment import meta_of
from metroline.routing.meta import Meta
from metroline.routing.records.field_sets import NOTHING
from metroline.routing.records.service_view import Opened

CHUNK = 32
"""Number of records decoded together: few enough to be in the processor's cache still when they are encoded."""


class ServiceRun:
    """Calls a service and collects its `answers`. No record can make it raise."""

    def __init__(
        self,
        service: Service,
        policy: StopPolicy,
        calls: Calls | None,
        origin: Origin,
        answers: Answers,
        handling: HandlingTime,
        source: str,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """Take the records in `answers`, which came from the topic `source`. `calls` is None for a plain function.

        `clock` returns the time in seconds since the epoch.
        """
        self.service = service
        self.policy = policy
        self.calls = calls
        self.origin = origin
        self.answers = answers
        self.handling = handling
        self.source = source
        self.clock = clock
        self._waits = 0

    def __len__(self) -> int:
        return len(self.answers)

    async def run_one(self, place: int) -> None:
        """Call the service on the record at index `place`."""
        if self.answers.segment.is_handled:
            self.pass_on(place)
            return
        self.answers.begin(self.clock(), place)
        if self.service.is_plain:
            began = time.perf_counter()
            self._run_plain(place)
            self._handled(1, began)
        else:
            self.answers.taken = place + 1
            await self.run_async(place)

    def pass_on(self, place: int) -> None:
        """Let the record at index `place` continue as it is: its service handled it before, and it waited since."""
        answers = self.answers
        answers.taken = place + 1
        opened = answers.open(place)
        if opened is not None:
            known, handed = opened
            answers.note_plan_fields(place, known)
            answers.returned(place, known, handed)

    def run(self, clock: Callable[[], float], seconds: float) -> None:
        """Call a plain service on the remaining records, for about this many seconds."""
        answers = self.answers
        first, began = answers.taken, time.perf_counter()
        now = clock()
        answers.begin(now)
        until = now + seconds
        while answers.taken < len(answers):
            try:
                opened = answers.open_all(CHUNK)
            except (MalformedRecord, SchemaMismatch):
                for place in range(answers.taken, min(answers.taken + CHUNK, len(answers))):
                    self._run_plain(place)
                    if clock() > until:
                        break
            else:
                with plain_calls(self.service.name):
                    self.run_on(opened, clock, until)
            if clock() > until:
                break
        self._handled(answers.taken - first, began)

    def _run_plain(self, place: int) -> None:
        """Call a plain service on the record at index `place`."""
        self.answers.taken = place
        opened = self.answers.open(place)
        if opened is None:
            self.answers.taken += 1
        else:
            with plain_calls(self.service.name):
                self.run_on([opened], time.monotonic, 0.0)

    def run_on(self, opened: Sequence[Opened], clock: Callable[[], float], until: float) -> None:
        """Call a plain service on at least one record, and on the others until the time `until` of the clock."""
        answers, handler, is_told = self.answers, self.service.handler, self.service.is_told_source
        has_plan = answers.plan_fields != NOTHING
        for known, handed in opened:
            place = answers.taken
            answers.taken = place + 1
            if has_plan:
                answers.note_plan_fields(place, known)
            try:
                result = handler(handed) if not is_told else self._handler(place)(handed)
            except LoopBlocked as error:
                answers.blocked(place, error, error.seconds)
            except BaseException as error:  # noqa: BLE001 - whatever a service raises, even SystemExit, is a failed attempt
                answers.raised(place, error, self.policy)
            else:
                answers.returned(place, known, result, handed)
            if clock() > until:
                return

    async def run_async(self, place: int) -> None:
        """Call an async or blocking service on the record at index `place`."""
        answers, seconds = self.answers, self.policy.retries.timeout
        opened = answers.open(place)
        if opened is None:
            return
        known, handed = opened
        answers.note_plan_fields(place, known)
        handler = self._handler(place) if self.service.is_told_source else self.service.handler
        began = time.perf_counter()
        assert self.calls is not None
        called = await self.calls.call(handler, handed, seconds)
        if called.is_late:
            answers.timed_out(place, seconds)
        elif type(called.error) is LoopBlocked:
            answers.blocked(place, called.error, called.error.seconds)
        elif called.error is not None:
            answers.raised(place, called.error, self.policy)
        else:
            answers.returned(place, known, called.value, handed)
        self._handled(1, began)

    def _handled(self, records: int, began: float) -> None:
        """Count calls that began at a time of `time.perf_counter`."""
        self.handling.add(records, time.perf_counter() - began, self.answers.is_retry)
        self.count_waits()

    def count_waits(self) -> None:
        """Count the waits that the service has asked for since the last time."""
        waits = self.answers.asked_waits
        self.handling.waits += waits - self._waits
        self._waits = waits

    def _handler(self, place: int) -> Handler:
        meta = self.meta_of(place) if self.service.takes_meta else None
        return self.service.handler_of(self.id_of(place), meta)

    def id_of(self, place: int) -> str:
        """Return the id of the record at index `place`, as services receive it."""
        return id_text(self._origin_of(place), self.answers.segment.ids[place])

    def meta_of(self, place: int) -> Meta:
        """Return the metadata of the record at index `place`, as services receive it."""
        return meta_of(self._origin_of(place), self.answers.segment, place, self.source)

    def _origin_of(self, place: int) -> Origin:
        partitions = self.answers.segment.partitions
        return self.origin if partitions is None else Origin(self.origin.name, partitions[place])
