"""Decides about a journey again, by another rules table: the same way, another one, or not known from what is kept.

A decision is made again only where it may differ: not where the rules of a stop are the same up to the one that held.
It needs the record as it was at that stop. A line keeps its last state and, while its message is on the source topic,
its first one. In between, a decision counts if the rules read nothing that differs between the two, or if the record at
the end, under the table of that time, leads to the decision that was made.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Set
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

import orjson

from metroline.app.preview.seen import Chosen, Seen, Shape, outcome_text
from metroline.routing.addresses import SOURCE
from metroline.routing.messages.itinerary import Decision
from metroline.routing.messages.metadata import Metadata
from metroline.routing.outcome import Cause, Ending
from metroline.routing.records.fingerprints import fingerprint
from metroline.routing.rules.rule import Rule
from metroline.routing.rules.rule_meta import NO_META, RuleMeta, RuleMetas, rule_metas
from metroline.routing.rules.table import RulesTable

NEW = -1
"""The version that stands for the new table."""

LOOPS = "loops"
"""The outcome of a record that comes back to a stop again and again if no service changes it."""


class Unknown(StrEnum):
    """The reasons for which a decision cannot be made again."""

    CUT = "only the beginning of the record is kept"
    METADATA = "the rules read the key, the headers or the time of the source message, which is not kept"
    RECORD = "the rules read fields as they were at this stop, and the record of that time is not kept"
    VERSION = "the table that decided is not known"


@dataclass(frozen=True, slots=True)
class Turn:
    """The first decision that differs: after which stop, and the next stop or the outcome before and from now on."""

    after: str
    before: str
    rule_before: str | None
    to: str
    rule: str | None


@dataclass(frozen=True, slots=True)
class NewWay:
    """The way of a record by the new table."""

    stops: tuple[str, ...]
    outcome: str
    turn: Turn | None = None
    """The first decision that differs; None if none does."""
    is_supposed: bool = False
    """True if it depends on what services do, or on a record that is taken to be known as it was in between."""
    unknown: Unknown | None = None
    """The reason for which the way cannot be followed to its end; `stops` and `outcome` are those of before then."""
    unknown_after: str = ""


@dataclass(frozen=True, slots=True)
class UnderWay:
    """A record that is under way: it waits at a stop, or for the decision after one."""

    id: str
    stop: str
    """The stop at which it waits, or after which it waits for a decision."""
    is_handled: bool
    """True if it waits for the decision after the stop, so that its record is the one that left it."""
    line: bytes
    entered: float
    visited: int
    """Number of stops that it has visited, with that at which it waits."""
    metadata: Metadata | None = None


@dataclass(frozen=True, slots=True)
class Ahead:
    """The way that is ahead of a record if no service changes it, and the first decision."""

    stops: tuple[str, ...]
    outcome: str
    first: Decision


def ahead(table: RulesTable, one: UnderWay, max_hops: int, ends: Set[str] = frozenset()) -> Ahead:
    """Return the way of a record that is under way, by a rules table; `ends` are stops that deliver."""
    record = _object(one.line) or {}
    metas = rule_metas(one.metadata or Metadata(), one.entered, 1, table.reader.meta)
    first = decision = _decided(table, one.stop, record, metas)
    stops: list[str] = []
    met = {one.stop}
    while decision.stop is not None:
        stops.append(decision.stop)
        if decision.stop in ends:
            return Ahead((*stops,), outcome_text(Ending.DELIVERED, decision.stop), first)
        if decision.stop in met or one.visited + len(stops) >= max_hops:
            return Ahead((*stops,), LOOPS, first)
        met.add(decision.stop)
        decision = _decided(table, decision.stop, record, metas)
    return Ahead((*stops,), _ended(decision), first)


def _decided(table: RulesTable, after: str, record: dict[str, Any], metas: RuleMetas) -> Decision:
    return table.stop_rules(after).decide([record], metas)[0]


def turned(
    before: RulesTable, after: RulesTable, one: UnderWay, max_hops: int, ends: Set[str] = frozenset()
) -> tuple[Ahead, NewWay]:
    """Return the ways of a record that is under way, by the current table and by a new one."""
    old, new = (ahead(table, one, max_hops, ends) for table in (before, after))
    if (old.stops, old.outcome) == (new.stops, new.outcome):
        return old, NewWay(new.stops, new.outcome)
    turn = _first_turn(before, after, one, old, new)
    is_supposed = not one.is_handled or turn.after != one.stop or new.first.stop is not None
    return old, NewWay(new.stops, new.outcome, turn, is_supposed)


def _first_turn(before: RulesTable, after: RulesTable, one: UnderWay, old: Ahead, new: Ahead) -> Turn:
    """Return the first decision by which two ways ahead of a record differ."""
    place = 0
    while old.stops[place : place + 1] == new.stops[place : place + 1] != ():
        place += 1
    at = (one.stop, *new.stops)[place]
    record = _object(one.line) or {}
    decisions = []
    for table in (before, after):
        metas = rule_metas(one.metadata or Metadata(), one.entered, 1, table.reader.meta)
        decisions.append(_decided(table, at, record, metas))
    first, second = decisions
    return Turn(at, first.stop or _ended(first), first.rule, second.stop or _ended(second), second.rule)


@dataclass(frozen=True, slots=True)
class _Plan:
    """The facts about all journeys of a shape: where they began, and which decisions cannot differ."""

    start: int
    settled: tuple[bool, ...]
    """For the decision after each stop, whether it is the same by the new table."""
    is_unchanged: bool


@dataclass(slots=True)
class NewTable:
    """A rules table that is to be published, with the tables by which the journeys were decided."""

    table: RulesTable
    versions: Mapping[int, RulesTable]
    max_hops: int = 64
    times: Mapping[int, float] = field(default_factory=dict)
    """The time at which each version was published, in seconds since the epoch."""
    ends: Set[str] = frozenset()
    """The stops that deliver to another system."""
    _plans: dict[tuple[Shape, int], _Plan] = field(default_factory=dict)
    _rules: dict[tuple[int, str], list[Rule]] = field(default_factory=dict)

    def follow(self, seen: Seen) -> NewWay:
        """Return the way that the record of a journey takes by the new table."""
        shape = seen.shape
        plan = self._plan(shape, self._last_version(seen))
        if plan.is_unchanged:
            return NewWay(shape.stops, shape.outcome)
        return _Walk(self, seen, plan).way()

    def version_of(self, seen: Seen, place: int) -> RulesTable | None:
        """Return the table that decided after the stop before `place`; None if it is not known."""
        way = seen.shape.way
        return self.versions.get(way[place].version if place < len(way) else self._last_version(seen))

    def _last_version(self, seen: Seen) -> int:
        """Return the version that decided the outcome, which a journey does not name.

        It is that of its last stop or, for a journey without one, the version that was current when it ended.
        """
        if seen.shape.way:
            return seen.shape.way[-1].version
        known = (version for version in self.versions if self.times.get(version, -math.inf) <= seen.settled)
        return max(known, default=min(self.versions, default=0))

    def _plan(self, shape: Shape, last: int) -> _Plan:
        plan = self._plans.get((shape, last))
        if plan is None:
            plan = self._plans[shape, last] = self._planned(shape, last)
        return plan

    def _planned(self, shape: Shape, last: int) -> _Plan:
        start = 0
        settled = []
        after = SOURCE
        for place, chosen in enumerate(shape.way):
            if place and self._begins_again(chosen, after):
                start, after = place, SOURCE
            settled.append(chosen.rule is None or self._is_kept(chosen.version, after, chosen.rule))
            after = chosen.stop
        settled.append(not shape.is_ended_by_rules or self._is_end_kept(shape, last, after))
        return _Plan(start, tuple(settled), not shape.is_readable or all(settled[start:]))

    def _is_end_kept(self, shape: Shape, version: int, after: str) -> bool:
        if shape.ending is Ending.DEAD and shape.detail == Cause.TOO_MANY_HOPS:
            return self._same_rules(version, after)
        return self._same_rules(version, after) if shape.rule is None else self._is_kept(version, after, shape.rule)

    def _is_kept(self, version: int, after: str, rule: str) -> bool:
        """Return whether the rules after a stop are the same up to this one."""
        old = self.rules_after(version, after)
        places = [place for place, one in enumerate(old) if one.name == rule]  # names need not be unique
        if not places:
            return False
        new = self.rules_after(NEW, after)[: places[-1] + 1]
        return list(map(_meaning, old[: places[-1] + 1])) == list(map(_meaning, new))

    def _same_rules(self, version: int, after: str) -> bool:
        if version not in self.versions:
            return False
        return list(map(_meaning, self.rules_after(version, after))) == list(
            map(_meaning, self.rules_after(NEW, after))
        )

    def _begins_again(self, chosen: Chosen, after: str) -> bool:
        """Return whether a stop was chosen at the source: the record was a dead letter before, and was replayed."""
        here, there = (self.rules_after(chosen.version, stop) for stop in (after, SOURCE))
        names = {rule.name for rule in here}
        return chosen.rule not in names and any(rule.name == chosen.rule for rule in there)

    def rules_after(self, version: int, after: str) -> list[Rule]:
        """Return the rules after a stop, in order; those of the new table for the version `NEW`."""
        found = self._rules.get((version, after))
        if found is None:
            table = self.table if version == NEW else self.versions.get(version)
            rules = () if table is None else table.rules
            found = self._rules[version, after] = [rule for rule in rules if rule.after == after]
        return found


def _meaning(rule: Rule) -> tuple[Any, ...]:
    """Return what a rule does, without its name."""
    match = tuple(sorted((name, repr(wanted)) for name, wanted in rule.match.items()))
    return match, rule.when, rule.to, rule.drop


@dataclass(frozen=True, slots=True)
class _Step:
    """A decision by the new table: as it was, another one, or not known."""

    decision: Decision | None = None
    """The decision; None if it is as it was, or not known."""
    is_supposed: bool = False
    unknown: Unknown | None = None


AS_IT_WAS = _Step()


class _Walk:
    """The walk of one record along its stops by the new table."""

    def __init__(self, new: NewTable, seen: Seen, plan: _Plan) -> None:
        self.new = new
        self.seen = seen
        self.plan = plan
        self.chosen = seen.shape.way
        self.stops: list[str] = []
        self.turn: Turn | None = None
        self.is_supposed = False
        self._last: dict[str, Any] | None = None
        self._first: dict[str, Any] | None = None

    def way(self) -> NewWay:
        """Return the way of the record."""
        shape = self.seen.shape
        self._last = _object(self.seen.line)
        self._first = _object(self.seen.source)
        place, after = self.plan.start, SOURCE
        self.stops = list(shape.stops[:place])
        while True:
            step = self._step(place, after)
            if step.unknown is not None:
                return NewWay(shape.stops, shape.outcome, self.turn, True, step.unknown, after)
            self.is_supposed |= step.is_supposed
            if step.decision is None or self._is_same(place, step.decision):
                if place == len(self.chosen):
                    return NewWay((*self.stops,), shape.outcome, self.turn, self.is_supposed)
                after = self.chosen[place].stop
                self.stops.append(after)
                place += 1
                continue
            self._note(place, after, step.decision)
            found = self._elsewhere(place, step.decision)
            if isinstance(found, NewWay):
                return found
            place, after = found + 1, self.chosen[found].stop
            self.is_supposed = True

    def _step(self, place: int, after: str) -> _Step:
        """Return the decision of the new table after a stop of the journey."""
        if self.plan.settled[place]:
            return AS_IT_WAS
        exact = self._exact(place)
        if exact is not None and self._is_refuted(place, after, exact):
            exact = None
        if exact is not None:
            decision = self._decide(self.new.table, after, exact)
            return _Step(decision) if isinstance(decision, Decision) else _Step(unknown=decision)
        if self._last is None:
            return _Step(unknown=Unknown.CUT)
        decision = self._decide(self.new.table, after, self._last)
        if not isinstance(decision, Decision):
            return _Step(unknown=decision)
        if self._first is not None and _is_unchanged(self._first, self._last, decision):
            return _Step(decision, is_supposed=True)  # a service might have changed a field and another one set it back
        old = self.new.version_of(self.seen, place)
        if old is None:
            return _Step(unknown=Unknown.VERSION)
        then = self._decide(old, after, self._last)
        if isinstance(then, Decision) and self._is_same(place, then):
            return _Step(decision, is_supposed=True)
        return _Step(unknown=Unknown.RECORD)

    def _exact(self, place: int) -> dict[str, Any] | None:
        """Return the record on which the decision at a place was made; None if it is not kept."""
        if place == 0 and self._first is not None:
            return self._first
        known = len(self.chosen) if self.seen.shape.is_ended_by_rules else len(self.chosen) - 1
        return self._last if place == known else None

    def _is_refuted(self, place: int, after: str, record: dict[str, Any]) -> bool:
        """Return whether the record of the source message was another one as it was decided about, as after an edit."""
        if place or record is not self._first:
            return False
        old = self.new.version_of(self.seen, place)
        then = None if old is None else self._decide(old, after, record)
        return isinstance(then, Decision) and not self._is_same(place, then)

    def _decide(self, table: RulesTable, after: str, record: dict[str, Any]) -> Decision | Unknown:
        meta = self._meta(table, after)
        return meta if isinstance(meta, Unknown) else table.decide(after, record, meta)

    def _meta(self, table: RulesTable, after: str) -> RuleMeta | Unknown:
        parts = table.stop_rules(after).meta
        if not parts:
            return NO_META
        if self.seen.metadata is None and parts - {"entered"}:
            return Unknown.METADATA
        metas = rule_metas(self.seen.metadata or Metadata(), self.seen.entered, 1, parts)
        return NO_META if metas is None else metas[0]

    def _is_same(self, place: int, decision: Decision) -> bool:
        """Return whether a decision is the one that was made."""
        shape = self.seen.shape
        if place < len(self.chosen):
            return decision.stop == self.chosen[place].stop
        if shape.ending is Ending.DEAD and shape.detail == Cause.TOO_MANY_HOPS:
            return decision.stop is not None
        return decision.stop is None and _ended(decision) == shape.outcome

    def _note(self, place: int, after: str, decision: Decision) -> None:
        if self.turn is None:
            shape = self.seen.shape
            was = self.chosen[place] if place < len(self.chosen) else None
            before, rule = (shape.outcome, shape.rule) if was is None else (was.stop, was.rule)
            self.turn = Turn(after, before, rule, decision.stop or _ended(decision), decision.rule)

    def _elsewhere(self, place: int, decision: Decision) -> NewWay | int:
        """Follow a record that left its way; return its new way, or the place of the stop at which it comes back.

        The record is taken to stay as it is known to be: what the services of the stops on the way do is not known.
        """
        record = self._exact(place) or self._last or {}
        met: set[str] = set()
        while decision.stop is not None:
            stop = decision.stop
            rest = [chosen.stop for chosen in self.chosen[place:]]
            self.stops.append(stop)
            if stop in rest:
                return place + rest.index(stop)
            if stop in self.new.ends:
                return NewWay((*self.stops,), outcome_text(Ending.DELIVERED, stop), self.turn, self.is_supposed)
            self.is_supposed = True
            if stop in met or len(self.stops) >= self.new.max_hops:
                return NewWay((*self.stops,), LOOPS, self.turn, True)
            met.add(stop)
            following = self._decide(self.new.table, stop, record)
            if isinstance(following, Unknown):
                return NewWay(self.seen.shape.stops, self.seen.shape.outcome, self.turn, True, following, stop)
            decision = following
        return NewWay((*self.stops,), _ended(decision), self.turn, self.is_supposed)


def _is_unchanged(first: dict[str, Any], last: dict[str, Any], decision: Decision) -> bool:
    """Return whether all fields on which a decision depends are at the end as they were at the beginning."""
    names: Iterator[str] = iter(first.keys() | last.keys() if decision.reads is None else decision.reads)
    return all(fingerprint(first.get(name)) == fingerprint(last.get(name)) for name in names)


def _ended(decision: Decision) -> str:
    outcome = decision.outcome
    assert outcome is not None, "a decision without a stop has an outcome"
    return outcome_text(outcome.ending, str(outcome.cause) if outcome.cause is not None else outcome.detail)


def _object(line: bytes | None) -> dict[str, Any] | None:
    """Return the record in a line; None if it is not known, or no JSON object."""
    if line is None:
        return None
    try:
        record = orjson.loads(line)
    except orjson.JSONDecodeError:
        return None
    return record if isinstance(record, dict) else None
