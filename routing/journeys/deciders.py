"""Conductor, map maker and switch: they read only the fields that rules read, and pass records on unchanged."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from typing import Any, ClassVar

from metroline.routing.addresses import SOURCE
from metroline.routing.errors import MalformedRecord
from metroline.routing.journeys.chunks import Clock, at_once, in_chunks
from metroline.routing.journeys.departures import Departures
from metroline.routing.messages.envelope import Envelope
from metroline.routing.messages.itinerary import Decider, Decision, NextStep
from metroline.routing.messages.segment import Segment
from metroline.routing.outcome import Cause, Outcome
from metroline.routing.records.field_reader import FieldReader
from metroline.routing.records.field_sets import NOTHING
from metroline.routing.rules.rule_meta import RuleMetas, rule_metas
from metroline.routing.rules.table import RulesTable


class Router(ABC):
    """Decides the next step of records that have left a stop with the current rules table."""

    address: ClassVar[Decider]
    summary: ClassVar[str]
    """One sentence for users that says what the router does."""

    @abstractmethod
    def reader(self, rules: RulesTable, after: str) -> FieldReader:
        """Return the reader of the fields on which the next step after `after` depends."""

    @abstractmethod
    def next_steps(
        self, rules: RulesTable, after: str, records: Sequence[dict[str, Any]], metas: RuleMetas = None
    ) -> Sequence[NextStep]:
        """Return the next step of each record that has just left the stop `after`.

        `records` holds for each record the fields that `reader` reads, and `metas` the metadata that it names.
        """


class Conductor(Router):
    """Decides one step at a time, at the start and after every stop (Process Manager)."""

    address = Decider.CONDUCTOR
    summary = "Decides the next stop after every stop."

    def reader(self, rules: RulesTable, after: str) -> FieldReader:
        return rules.stop_rules(after).reader

    def next_steps(
        self, rules: RulesTable, after: str, records: Sequence[dict[str, Any]], metas: RuleMetas = None
    ) -> Sequence[NextStep]:
        return rules.stop_rules(after).decide(records, metas)


class MapMaker(Router):
    """Plans the whole itinerary at the start and sends it with the record (Routing Slip)."""

    address = Decider.MAP_MAKER
    summary = "Plans the itinerary of a record at the start."

    def reader(self, rules: RulesTable, after: str) -> FieldReader:
        return rules.reader

    def next_steps(
        self, rules: RulesTable, after: str, records: Sequence[dict[str, Any]], metas: RuleMetas = None
    ) -> Sequence[NextStep]:
        return rules.plans(SOURCE, records, metas)


class Switch(Router):
    """Plans the rest of the itinerary when a stop has changed a field on which the plan depends (Dynamic Router)."""

    address = Decider.SWITCH
    summary = "Replaces the itinerary of a record when a stop has made it stale."

    def reader(self, rules: RulesTable, after: str) -> FieldReader:
        return rules.reader

    def next_steps(
        self, rules: RulesTable, after: str, records: Sequence[dict[str, Any]], metas: RuleMetas = None
    ) -> Sequence[NextStep]:
        return rules.plans(after, records, metas)


ROUTERS: dict[str, Router] = {router.address.value: router for router in (MapMaker(), Conductor(), Switch())}
"""The routers by their addresses."""


def route_in_chunks(
    departures: Departures, router: Router, envelope: Envelope, rules: RulesTable, clock: Clock = float
) -> Iterator[None]:
    """Add the records of an envelope to `departures`, each with the next step that the router decides.

    Yield after each chunk of records, so that the caller may let other tasks run. `clock` measures the chunks.
    """
    by = router.address.value
    for segment in envelope.segments:
        after = segment.last_stop
        reader = router.reader(rules, after)
        if reader.is_blind:  # the rules read no field, so one decision holds for all records
            departures.add(segment, router.next_steps(rules, after, [{}])[0].hop(by))
            continue
        steps: list[NextStep] = []
        yield from _decide_in_chunks(router, rules, segment, reader, steps, clock)
        departures.add_each(segment, steps, by)


route = at_once(route_in_chunks)
"""Does all that `route_in_chunks` does, at once."""


def _decide_in_chunks(
    router: Router, rules: RulesTable, segment: Segment, reader: FieldReader, steps: list[NextStep], clock: Clock
) -> Iterator[None]:
    """Add the next step of each record of a segment to `steps`."""
    count = len(segment.lines)
    metas = rule_metas(segment.metadata, segment.entered, count, reader.meta)

    def decide(part: slice) -> None:
        some = None if metas is None else metas[part]
        steps.extend(_next_steps(router, rules, segment.last_stop, reader, segment.lines[part], some))

    return in_chunks(decide, count, count, clock)


def _next_steps(
    router: Router, rules: RulesTable, after: str, reader: FieldReader, lines: Sequence[bytes], metas: RuleMetas
) -> Sequence[NextStep]:
    try:
        return router.next_steps(rules, after, reader.read_all(lines), metas)
    except MalformedRecord:
        return [
            _next_step(router, rules, after, line, reader, None if metas is None else [metas[place]])
            for place, line in enumerate(lines)
        ]


def _next_step(
    router: Router, rules: RulesTable, after: str, line: bytes, reader: FieldReader, metas: RuleMetas
) -> NextStep:
    try:
        return router.next_steps(rules, after, [reader.read(line)], metas)[0]
    except MalformedRecord as error:
        return Decision(None, Outcome.dead(Cause.MALFORMED_RECORD, str(error)), None, rules.version, NOTHING)
