"""The invariant of the project: every strategy takes every record by the same route to the same outcome.

Generated worlds run through the routing core that the agents use: entry, deciders, answers and arrival. A small bus
takes the place of Kafka: it encodes and decodes envelopes at every hop.
"""

from __future__ import annotations

import json
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from metroline.routing.addresses import ARRIVALS, SOURCE, WAITING_ROOMS, service_address
from metroline.routing.journeys.answers import Answers, StopPolicy, depart
from metroline.routing.journeys.arrival import settle
from metroline.routing.journeys.batch_answers import Handed, returned_together
from metroline.routing.journeys.deciders import ROUTERS, route
from metroline.routing.journeys.departures import Departures, Limits
from metroline.routing.journeys.ends import End
from metroline.routing.journeys.entry import enter
from metroline.routing.journeys.retry_policy import RetryPolicy
from metroline.routing.journeys.settlement import SettledBlock
from metroline.routing.messages.envelope import Envelope
from metroline.routing.messages.metadata import Metadata
from metroline.routing.messages.record_ids import Origin, RecordId
from metroline.routing.messages.segment import Segment
from metroline.routing.outcome import Drop, Wait
from metroline.routing.records.service_view import WholeRecord
from metroline.routing.rules.table import RulesTable
from metroline.routing.strategies import STRATEGIES, RuleTables
from tests.support.worlds import (
    ENDS,
    Handler,
    Record,
    Sketch,
    as_json,
    examples,
    judge,
    put,
    records,
    services,
    table,
    tables,
)
from tests.support.worlds import Service as Changes

ORIGIN = Origin("source", 0)


@dataclass(frozen=True)
class Journey:
    """A record's journey as a user sees it: its stops with the rules that chose them, and its outcome."""

    stops: tuple[str, ...]
    rules: tuple[str | None, ...]
    ending: str
    reason: str | None
    rule: str | None
    record: str

    @property
    def kind(self) -> str | None:
        """Return a dead letter's reason without its details."""
        return self.reason.partition(":")[0] if self.ending == "dead" and self.reason else self.reason


DEFAULT = Limits(pack_bytes=512 * 1024, pack_records=500)


@dataclass
class Bus:
    """A bus that carries envelopes between on-ramp, routers, services and arrivals until all records have arrived."""

    strategy: str
    rule_tables: RuleTables
    services: dict[str, Handler]
    limits: Limits = DEFAULT
    chaining: str = "off"
    """`on` if envelopes go on in memory wherever they may, `mixed` if every other one does, `off` if none does."""
    is_batching: bool = False
    """True if services are called once for all records that wait at their stop."""
    waiting: dict[str, deque[bytes | Envelope]] = field(default_factory=dict)
    visits: Counter[tuple[RecordId, str]] = field(default_factory=Counter)
    """Number of times that each record came to each address."""
    written: Counter[RecordId] = field(default_factory=Counter)
    """Number of times that each record was written."""
    journeys: dict[RecordId, Journey] = field(default_factory=dict)
    hops: dict[RecordId, int] = field(default_factory=dict)
    packs: int = 0
    """Number of envelopes that went from one address to another."""
    ends: list[Segment] = field(default_factory=list)
    """Segments that reached the arrivals."""
    blocks: dict[bytes, SettledBlock] = field(default_factory=dict)

    def run(self, records: Sequence[Record], metadata: Metadata | None = None) -> None:
        self.push(records, metadata)
        while self.step():
            pass

    def push(self, records: Sequence[Record], metadata: Metadata | None = None) -> None:
        """Write records to the source."""
        lines = list(map(orjson.dumps, records))
        departures = Departures(self.strategy, ORIGIN, self.limits.max_hops)
        strategy, tables = STRATEGIES[self.strategy], self.rule_tables
        enter(departures, range(len(lines)), lines, strategy, tables, now=0.0, metadata=metadata)
        self._dispatch(departures)

    def step(self) -> bool:
        """Take all envelopes that wait at one address and handle them; their output may travel together."""
        address = next((address for address, queue in self.waiting.items() if queue), None)
        if address is None:
            return False
        departures = Departures(self.strategy, ORIGIN, self.limits.max_hops)
        together: list[Envelope] = []
        while self.waiting[address]:
            arrived = self.waiting[address].popleft()
            envelope = arrived if isinstance(arrived, Envelope) else Envelope.decode(arrived)
            assert envelope.origin == ORIGIN
            assert envelope.strategy == self.strategy
            if address == ARRIVALS:
                self._settle(envelope, departures)
            elif address in ROUTERS:
                route(departures, ROUTERS[address], envelope, self.rule_tables.live)
            elif address in WAITING_ROOMS:
                self._wait(envelope, departures)
            elif self.is_batching:
                together.append(envelope)
            else:
                self._serve(address.removeprefix("service."), envelope, departures)
        if together:
            self._serve_batch(address.removeprefix("service."), together, departures)
        self._dispatch(departures)
        return True

    def _serve(self, stop: str, envelope: Envelope, departures: Departures) -> None:
        """Call the service on the records of an envelope."""
        policy = StopPolicy(stop, RetryPolicy())
        for answers in self._answers(stop, envelope):
            for place in range(len(answers)):
                opened = answers.open(place)
                assert opened is not None
                known, handed = opened
                answers.note_plan_fields(place, known)
                result = handed if answers.segment.is_handled else self.services[stop](handed)
                answers.returned(place, known, result, handed)
                answers.taken += 1
            depart(departures, answers, policy, now=1.5, jitter=lambda: 1.0)

    def _wait(self, envelope: Envelope, departures: Departures) -> None:
        """Send records back to their stops, as if their time had come."""
        for segment in envelope.segments:
            assert segment.attempts is not None
            departures.send_back(segment, segment.attempts.stop)

    def _serve_batch(self, stop: str, envelopes: Sequence[Envelope], departures: Departures) -> None:
        """Call the service once for the records of several envelopes."""
        policy = StopPolicy(stop, RetryPolicy())
        batch: list[Handed] = []
        each = [answers for envelope in envelopes for answers in self._answers(stop, envelope)]
        for answers in each:
            for place in range(len(answers)):
                opened = answers.open(place)
                assert opened is not None
                known, handed = opened
                answers.note_plan_fields(place, known)
                answers.taken += 1
                if answers.segment.is_handled:
                    answers.returned(place, known, handed)
                else:
                    batch.append(Handed(answers, place, known, handed))
        returned_together(batch, [self.services[stop](one.record) for one in batch], policy)
        for answers in each:
            depart(departures, answers, policy, now=1.5, jitter=lambda: 1.0)

    def _answers(self, stop: str, envelope: Envelope) -> Iterator[Answers]:
        for segment in envelope.segments:
            yield Answers(stop, segment, lambda _: WholeRecord(), STRATEGIES[self.strategy], self.rule_tables)

    def _settle(self, envelope: Envelope, departures: Departures) -> None:
        def block_of(key: bytes) -> SettledBlock:
            return self.blocks.setdefault(key, SettledBlock())

        ends = dict.fromkeys(ENDS, End())
        settlement = settle(envelope, block_of, departures, self.rule_tables, now=2.0, ends=ends)
        assert sum(len(one.ids) for one in settlement.fresh) == len(envelope), "no record comes twice"
        for segment in settlement.fresh:
            self._arrive(segment)

    def _dispatch(self, departures: Departures) -> None:
        for to, envelope in departures.packs(self.limits):
            records = [record for segment in envelope.segments for record in segment.ids]
            self.visits.update((record, to) for record in records)
            queue, self.packs = self.waiting.setdefault(to, deque()), self.packs + 1
            if to == ARRIVALS or self.chaining == "off" or (self.chaining == "mixed" and self.packs % 2):
                self.written.update(records)
                queue.append(envelope.encode())
            else:
                queue.append(envelope.unwritten())

    def _arrive(self, segment: Segment) -> None:
        outcome = segment.outcome
        assert outcome is not None
        self.ends.append(segment)
        for record, line in zip(segment.ids, segment.lines, strict=True):
            assert record not in self.journeys
            self.hops[record] = segment.hops
            self.journeys[record] = Journey(
                segment.stops,
                tuple(visit.rule for visit in segment.history),
                outcome.ending.value,
                outcome.reason,
                outcome.rule,
                canonical(orjson.loads(line)),
            )

    def count(self, record: RecordId, address: str) -> int:
        """Return the number of times that a record came to an address."""
        return self.visits[record, address]


def canonical(value: Any) -> str:
    return json.dumps(value, sort_keys=True)


# ------------------------------------------------------------------- the expected journeys, worked out independently


def expected(
    rules: Sequence[Sketch], handlers: dict[str, Handler], record: Record, max_hops: int
) -> tuple[Journey, int, bool]:
    """Return the journey of a record when the table is evaluated after every stop.

    With it, return the number of times that its map goes stale on the way, and whether a service ended the journey.
    """
    stops: list[str] = []
    chosen: list[str | None] = []
    replans = 0
    ahead = forecast(rules, SOURCE, record)
    verdict = judge(rules, SOURCE, record)
    while True:
        if verdict.stop is None or len(stops) >= max_hops:
            far = verdict.stop is not None
            ending, reason = ("dead", "too_many_hops") if far else (verdict.ending or "", verdict.reason)
            rule = None if far else verdict.rule
            return Journey(tuple(stops), tuple(chosen), ending, reason, rule, canonical(record)), replans, False
        stop = verdict.stop
        stops.append(stop)
        chosen.append(verdict.rule)
        result = handlers[stop](as_json(record))
        if isinstance(result, Drop):
            ended = Journey(tuple(stops), tuple(chosen), "dropped", result.reason, None, canonical(record))
            return ended, replans, True
        before, record = record, as_json(result)
        ahead = ahead[1:]
        if is_stale(ahead, before, record):
            replans += 1
            ahead = forecast(rules, stop, record)
        verdict = judge(rules, stop, record)


Leg = tuple[str, frozenset[str] | None]
"""A leg of the plan: its destination (a stop, 'end' or '?') and the fields that it was decided on."""


def forecast(rules: Sequence[Sketch], after: str, record: Record) -> list[Leg]:
    """Return the plan up to the end of the line, a drop, or a decision that depends on the record's later values."""
    legs: list[Leg] = []
    while True:
        verdict = judge(rules, after, record)
        if verdict.ending == "dead" or any(stop == verdict.stop for stop, _ in legs):
            return [*legs, ("?", frozenset())]
        legs.append((verdict.stop or "end", verdict.reads))
        if verdict.stop is None:
            return legs
        after = verdict.stop


def is_stale(ahead: list[Leg], before: Record, after: Record) -> bool:
    """Return whether a leg ahead depends on a field that has changed, or can only be decided now."""
    for stop, reads in ahead:
        if reads is None and canonical(before) != canonical(after):
            return True
        if any(canonical(before.get(name)) != canonical(after.get(name)) for name in reads or ()):
            return True
        if stop == "?":
            break
    return ahead[0][0] == "?"


def parsed(rules: Sequence[Sketch], version: int = 0) -> RulesTable:
    return RulesTable.parse(table(rules), version, ends=ENDS)


HOPS: dict[str, Callable[[int, int], int]] = {
    "hard_wired": lambda stops, replans: stops + 1,
    "conductor": lambda stops, replans: 2 * stops + 2,
    "map_maker": lambda stops, replans: stops + 2 + replans,
    "signpost": lambda stops, replans: stops + 1,
}


def run(
    strategy: str,
    book: RulesTable,
    handlers: dict[str, Handler],
    records: Sequence[Record],
    limits: Limits = DEFAULT,
    chaining: str = "off",
    is_batching: bool = False,
) -> Bus:
    bus = Bus(strategy, RuleTables(book, book), handlers, limits, chaining, is_batching)
    bus.run(records)
    return bus


CHAINING = st.sampled_from(["off", "on", "mixed"])


@given(tables().filter(bool), services, records, st.sampled_from([64, 6, 3, 2, 1]), CHAINING)
@examples(250)
def test_every_strategy_takes_a_record_the_same_way_to_the_same_outcome(
    rules: tuple[Sketch, ...], handlers: dict[str, Handler], record: Record, max_hops: int, chaining: str
) -> None:
    wanted, replans, by_service = expected(rules, handlers, record, max_hops)
    reasons = set()
    for strategy in STRATEGIES:
        bus = run(strategy, parsed(rules), handlers, [record], Limits(max_hops=max_hops), chaining)
        journey = bus.journeys[0]
        assert replace(journey, reason=journey.kind) == wanted
        reasons.add(journey.reason)
        asked_in_vain = strategy == "conductor" and by_service
        hops = HOPS[strategy](len(wanted.stops), replans) - asked_in_vain
        assert bus.hops[0] == bus.written[0] == {"off": hops, "on": 1}.get(chaining, bus.written[0])
        assert bus.count(0, "switch") == (replans if strategy == "map_maker" else 0)
    assert len(reasons) == 1


def waiting(handler: Handler, how: str) -> Handler:
    """Return a service that lets each record wait once when it comes to the stop, and does the same otherwise."""
    waited = False

    def handle(record: Record) -> Any:
        nonlocal waited
        waited = not waited
        if not waited and how == "again":
            return handler(record)
        if not waited:
            return record
        if how == "again":
            return Wait(seconds=60)
        result = handler(record)
        if isinstance(result, Drop):
            waited = False
            return result
        if how == "again, changed":
            return Wait(seconds=60, record=result)
        waited = False
        return Wait(seconds=60, then="next", record=None if how == "next" and result is record else result)

    return handle if how else handler


@given(
    tables().filter(bool),
    services,
    records,
    CHAINING,
    st.lists(st.sampled_from(["", "again", "again, changed", "next", "next, given"]), min_size=4, max_size=4),
)
@examples(150)
def test_a_record_that_waits_takes_the_same_way_as_one_that_does_not(
    rules: tuple[Sketch, ...], handlers: dict[str, Handler], record: Record, chaining: str, hows: list[str]
) -> None:
    wanted, _, _ = expected(rules, handlers, record, 12)
    for strategy in STRATEGIES:
        patient = {stop: waiting(handlers[stop], how) for stop, how in zip(handlers, hows, strict=True)}
        bus = run(strategy, parsed(rules), patient, [record], Limits(max_hops=12), chaining)
        journey = bus.journeys[0]
        assert replace(journey, reason=journey.kind) == wanted
        waits = sum(bool(patient[stop] is not handlers[stop]) for stop in wanted.stops)
        (end,) = bus.ends
        assert sum(one.times for one in (*end.waited, *([end.waits] if end.waits else []))) <= waits


@given(
    tables().filter(bool),
    services,
    st.lists(records, min_size=2, max_size=6),
    st.builds(
        Limits,
        max_hops=st.sampled_from([12, 3, 2, 1]),
        pack_bytes=st.integers(1, 200),
        pack_records=st.integers(1, 4),
    ),
    CHAINING,
    st.booleans(),
)
@examples(150)
def test_records_that_travel_together_go_as_each_would_alone(
    rules: tuple[Sketch, ...],
    handlers: dict[str, Handler],
    records: list[Record],
    limits: Limits,
    chaining: str,
    is_batching: bool,
) -> None:
    wanted = [expected(rules, handlers, record, limits.max_hops) for record in records]
    book = parsed(rules)
    for strategy in STRATEGIES:
        bus = run(strategy, book, handlers, records, limits, chaining, is_batching)
        assert len(bus.journeys) == len(records)
        for place, (journey, replans, by_service) in enumerate(wanted):
            found = bus.journeys[place]
            assert replace(found, reason=found.kind) == journey
            asked_in_vain = strategy == "conductor" and by_service
            assert bus.hops[place] == bus.written[place]
            if chaining == "off":
                assert bus.hops[place] == HOPS[strategy](len(journey.stops), replans) - asked_in_vain
            assert bus.count(place, "switch") == (replans if strategy == "map_maker" else 0)


@given(tables().filter(bool), tables().filter(bool), services, records, st.integers(0, 8))
@examples(150)
def test_while_tables_are_published_each_choice_is_that_of_the_table_whose_version_it_names(
    first: tuple[Sketch, ...], second: tuple[Sketch, ...], handlers: dict[str, Handler], record: Record, moment: int
) -> None:
    old, new = parsed(first, 1), parsed(second, 2)
    rules = {1: first, 2: second}
    for strategy in STRATEGIES:
        bus = Bus(strategy, RuleTables(old, old), handlers, Limits(max_hops=6))
        bus.push([record])
        for _ in range(moment):
            bus.step()
        bus.rule_tables = RuleTables(old, new)
        while bus.step():
            pass
        (end,) = bus.ends
        now, after = as_json(record), SOURCE
        for visit in end.history:
            verdict = judge(rules[visit.version], after, now)
            assert (verdict.stop, verdict.rule) == (visit.stop, visit.rule)
            result = handlers[visit.stop](as_json(now))
            now, after = (now if isinstance(result, Drop) else as_json(result)), visit.stop
        assert end.outcome is not None
        if end.chosen is not None and end.chosen.version:
            verdict = judge(rules[end.chosen.version], after, now)
            assert verdict.rule == end.chosen.rule
            assert verdict.ending == (None if "too_many_hops" in str(end.outcome.reason) else end.outcome.ending)
        if strategy == "hard_wired":
            assert all(visit.version == 1 for visit in end.history)


# ------------------------------------------------------------------------------------------------- single stories

UPGRADE = (
    Sketch("all begin at s0", SOURCE, to="s0"),
    Sketch("gold", "s0", (("status", "gold"),), to="s1"),
    Sketch("others", "s0", to="s2"),
)


def journey_of(
    strategy: str, rules: Sequence[Sketch], handlers: dict[str, Handler], record: Record
) -> tuple[Journey, Bus]:
    bus = run(strategy, parsed(rules), handlers, [record])
    return bus.journeys[0], bus


def doing(*changes: Any) -> Handler:
    return Changes(changes)


IDLE = {stop: doing() for stop in ("s0", "s1", "s2", "s3")}


def test_a_map_that_holds_is_followed_without_asking_again() -> None:
    journey, bus = journey_of("map_maker", UPGRADE, IDLE, {"status": "gold"})
    assert journey.stops == ("s0", "s1")
    assert bus.count(0, "switch") == 0


def test_a_stale_map_goes_to_the_switch() -> None:
    journey, bus = journey_of("map_maker", UPGRADE, IDLE | {"s0": doing(put("status", "gold"))}, {"status": "new"})
    assert journey.stops == ("s0", "s1")
    assert bus.count(0, "switch") == 1


def test_a_change_that_no_leg_ahead_was_decided_on_leaves_the_map_valid() -> None:
    journey, bus = journey_of("map_maker", UPGRADE, IDLE | {"s1": doing(put("status", "lost"))}, {"status": "gold"})
    assert journey.stops == ("s0", "s1")
    assert bus.count(0, "switch") == 0


@pytest.mark.parametrize(("before", "after"), [(1, 1.0), (1, True), (1.0, True), (0, False), (None, 0), ([1], [1.0])])
def test_a_change_of_type_makes_a_map_stale_also_where_python_sees_none(before: Any, after: Any) -> None:
    _, bus = journey_of("map_maker", UPGRADE, IDLE | {"s0": doing(put("status", after))}, {"status": before})
    assert bus.count(0, "switch") == 1


@pytest.mark.parametrize(
    ("before", "after"), [([1, 2], (1, 2)), (None, float("nan")), ({"a": 1, "b": 2}, {"b": 2, "a": 1})]
)
def test_what_json_makes_the_same_leaves_a_map_valid(before: Any, after: Any) -> None:
    _, bus = journey_of("map_maker", UPGRADE, IDLE | {"s0": doing(put("status", after))}, {"status": before})
    assert bus.count(0, "switch") == 0


def test_a_forecast_without_a_route_is_decided_by_the_switch_with_the_record_as_it_then_is() -> None:
    rules = (*UPGRADE[:2], Sketch("never", "s0", (("status", "silver"),), to="s2"))
    for strategy in STRATEGIES:
        journey, bus = journey_of(strategy, rules, IDLE, {"status": "new"})
        assert (journey.stops, journey.ending, journey.kind) == (("s0",), "dead", "unroutable")
        assert bus.count(0, "switch") == (1 if strategy == "map_maker" else 0)


def test_a_record_that_circles_for_ever_ends_after_max_hops_under_every_strategy() -> None:
    rules = (Sketch("in", SOURCE, to="s0"), Sketch("round", "s0", to="s1"), Sketch("and round", "s1", to="s0"))
    for strategy in STRATEGIES:
        journey, _ = journey_of(strategy, rules, IDLE, {})
        assert len(journey.stops) == 64
        assert journey.reason == "too_many_hops: 64 stops visited, the maximum is 64"


def test_a_service_that_drops_ends_the_journey_with_its_own_reason() -> None:
    drops = IDLE | {"s0": lambda record: Drop("no contact point")}
    for strategy in STRATEGIES:
        journey, _ = journey_of(strategy, UPGRADE, drops, {"status": "gold"})
        assert (journey.stops, journey.ending, journey.reason) == (("s0",), "dropped", "no contact point")


def published_on_the_way(strategy: str, handlers: dict[str, Handler]) -> Segment:
    """Publish a table while a record waits before s0, and return the record's last segment."""
    old = RulesTable.parse(table(UPGRADE), version=1)
    new = RulesTable.parse(table((*UPGRADE[:2], Sketch("others now", "s0", to="s3"))), version=2)
    bus = Bus(strategy, RuleTables(old, old), handlers)
    bus.push([{"status": "new"}])
    while not bus.waiting.get(service_address("s0")):
        bus.step()
    bus.rule_tables = RuleTables(old, new)
    while not bus.waiting.get("arrivals"):
        bus.step()
    last = bus.waiting["arrivals"][0]
    assert isinstance(last, bytes)
    return Envelope.decode(last).segments[0]


@pytest.mark.parametrize(
    ("strategy", "stops", "version"),
    [
        ("hard_wired", ("s0", "s2"), 1),
        ("conductor", ("s0", "s3"), 2),
        ("map_maker", ("s0", "s2"), 1),
        ("signpost", ("s0", "s3"), 2),
    ],
)
def test_a_published_table_reaches_a_record_under_way_as_its_strategy_says(
    strategy: str, stops: tuple[str, ...], version: int
) -> None:
    segment = published_on_the_way(strategy, IDLE)
    assert segment.stops == stops
    assert [visit.version for visit in segment.history] == [1, version]


def test_a_replan_goes_by_the_table_of_that_moment_and_names_the_switch_in_the_history() -> None:
    segment = published_on_the_way("map_maker", IDLE | {"s0": doing(put("status", "old"))})
    assert segment.stops == ("s0", "s3")
    assert [(visit.by, visit.version) for visit in segment.history] == [("map-maker", 1), ("switch", 2)]


@pytest.mark.parametrize(
    ("strategy", "deciders"),
    [
        ("hard_wired", ["on-ramp", "s0"]),
        ("conductor", ["conductor", "conductor"]),
        ("map_maker", ["map-maker", "map-maker"]),
        ("signpost", ["on-ramp", "s0"]),
    ],
)
def test_the_history_names_who_decided_and_not_who_followed_a_map(strategy: str, deciders: list[str]) -> None:
    _, bus = journey_of(strategy, UPGRADE, IDLE, {"status": "gold"})
    (end,) = bus.ends
    assert [visit.by for visit in end.history] == deciders


@pytest.mark.parametrize(("end", "reason"), [("end", None), ("shipped", "shipped")])
def test_a_rule_delivers_at_an_end_under_every_strategy_although_the_stop_has_more_rules(
    end: str, reason: str | None
) -> None:
    rules = (*UPGRADE[:2], Sketch("small ones are done", "s0", (("status", "new"),), to=end))
    for strategy in STRATEGIES:
        journey, bus = journey_of(strategy, rules, IDLE, {"status": "new"})
        assert (journey.stops, journey.ending, journey.reason) == (("s0",), "delivered", reason)
        assert journey.rule == "small ones are done"
        assert bus.count(0, "switch") == 0
        other, _ = journey_of(strategy, rules, IDLE, {"status": "lost"})
        assert (other.ending, other.kind) == ("dead", "unroutable")


def test_the_history_names_the_rule_that_chose_each_stop() -> None:
    for strategy in STRATEGIES:
        journey, _ = journey_of(strategy, UPGRADE, IDLE, {"status": "gold"})
        assert journey.rules == ("all begin at s0", "gold")


def test_a_dead_letter_names_the_rule_that_failed_and_why() -> None:
    text = '[[rules]]\nname = "large"\nafter = "source"\nwhen = "amount > 5"\nto = "s0"\n'
    decision = RulesTable.parse(text).decide(SOURCE, {"amount": "five"})
    assert decision.outcome is not None
    assert decision.outcome.rule == "large"
    assert str(decision.outcome.reason).startswith("rule_error: large: `>` cannot take text and a number")


BY_META = """
[[rules]]
after = "source"
when = 'meta.headers["type"] == "order"'
to = "s0"

[[rules]]
after = "source"
to = "s1"

[[rules]]
after = "s0"
when = 'meta.key == "b" && size > 1'
to = "s1"

[[rules]]
after = "s0"
when = "meta.timestamp < 2.0"
to = "s2"

[[rules]]
after = "s1"
when = 'meta.headers["type"] == "order"'
drop = "an order"
"""


@pytest.mark.parametrize("chaining", ["off", "on"])
@pytest.mark.parametrize("strategy", STRATEGIES)
def test_rules_that_read_metadata_decide_alike_under_every_strategy(strategy: str, chaining: str) -> None:
    table = RulesTable.parse(BY_META, 1)
    services = {stop: (lambda record: record | {"size": record["size"] + 1}) for stop in ("s0", "s1", "s2")}
    order = (("type", b"order"),)
    metadata = Metadata((b"b", b"b", None, b"a", b"b"), (order, None, order, order, order), (1_000, 1, 1_500, 3_000, 9))
    bus = Bus(strategy, RuleTables(table, table), services, chaining=chaining)
    bus.run([{"size": 1}, {"size": 1}, {"size": 1}, {"size": 1}, {"size": 0}], metadata)

    assert {number: (one.stops, one.ending, one.kind) for number, one in bus.journeys.items()} == {
        0: (("s0", "s1"), "dropped", "an order"),
        1: (("s1",), "dead", "unroutable"),
        2: (("s0", "s2"), "delivered", None),
        3: (("s0",), "dead", "unroutable"),
        4: (("s0", "s2"), "delivered", None),
    }
