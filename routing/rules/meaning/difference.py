"""Compares two rules tables by what they decide, and finds for each difference the smallest record that shows it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson
from msgspec import Struct

from metroline.routing.addresses import SOURCE
from metroline.routing.messages.itinerary import Decision
from metroline.routing.outcome import Cause
from metroline.routing.rules.cel.syntax_tree import Node, parse
from metroline.routing.rules.meaning.candidates import candidates
from metroline.routing.rules.meaning.equivalence import are_the_same, decide_alike, meaning
from metroline.routing.rules.meaning.places import Assignment, merged, record_of
from metroline.routing.rules.meaning.solving import Solver
from metroline.routing.rules.network import Network
from metroline.routing.rules.rule import Rule
from metroline.routing.rules.rule_meta import NO_META, RuleMeta, as_variable
from metroline.routing.rules.stop_rules import StopRules
from metroline.routing.rules.table import RulesTable

MAX_RECORDS = 6_000
"""Number of records that are tried for one stop."""

MAX_RULES = 200
"""Number of rules of a stop whose conditions are combined with those of rules that differ."""

MAX_REPAIRS = 12
"""Number of rules that a record is changed to get around, so that another one decides about it."""

MAX_DIFFERENCES = 50
"""Number of differences that are listed for one stop."""

FEW = 6
"""Number of ways to get around a rule that are tried."""


class Difference(Struct, frozen=True):
    """A record about which two tables decide differently after a stop."""

    after: str
    record: dict[str, Any]
    meta: dict[str, Any] | None
    """The metadata that the rules read; None if they need none."""
    before: str
    """The next stop, or the outcome, by the first table."""
    rule_before: str | None
    to: str
    """The next stop, or the outcome, by the second table."""
    rule: str | None


class Meaning(Struct, frozen=True):
    """The difference in meaning between two tables."""

    differences: list[Difference]
    not_proven: list[str]
    """The stops whose rules differ without a record that shows it: it is not proven that they decide alike."""
    only_before: list[str]
    """The stops that records reach by the first table alone."""
    only_after: list[str]

    @property
    def is_none(self) -> bool:
        """True if it is proven that both tables decide alike about every record."""
        return not (self.differences or self.not_proven or self.only_before or self.only_after)


def difference(before: RulesTable, after: RulesTable) -> Meaning:
    """Return the difference in meaning between two tables with the same ends."""
    networks = Network.of(before), Network.of(after)
    reached = [dict.fromkeys([SOURCE, *network.reachable]) for network in networks]
    found: list[Difference] = []
    not_proven = []
    for stop in reached[0]:
        if stop not in reached[1]:
            continue
        old, new = (network.edges.get(stop, []) for network in networks)
        if are_the_same(old, new) or decide_alike(old, new):
            continue
        witnesses = _Search(stop, before, after, old, new).differences()
        found += witnesses
        if not witnesses:
            not_proven.append(stop)
    only_before = [stop for stop in reached[0] if stop not in reached[1]]
    return Meaning(found, not_proven, only_before, [stop for stop in reached[1] if stop not in reached[0]])


@dataclass(frozen=True, slots=True)
class _Witness:
    assignment: Assignment
    record: dict[str, Any]
    meta: RuleMeta
    decisions: tuple[Decision, Decision]

    @property
    def size(self) -> tuple[int, int, str]:
        """A key by which smaller records come first."""
        encoded = orjson.dumps(self.record, option=orjson.OPT_SORT_KEYS).decode()
        own = sum(part is not None for part in self.meta[:2]) + (self.meta[2:] != NO_META[2:])
        return len(self.assignment) + own, len(encoded), encoded


@dataclass(slots=True)
class _Search:
    """The search for records about which the rules of two tables after a stop decide differently."""

    stop: str
    before: RulesTable
    after: RulesTable
    old: list[Rule]
    new: list[Rule]
    _tried: int = 0
    _roots: dict[int, Node | None] = field(default_factory=dict)
    _found: dict[tuple[str, str, str | None, str | None], _Witness] = field(default_factory=dict)

    def differences(self) -> list[Difference]:
        """Return the differences that were found, each with its smallest record."""
        self._roots = {id(rule): None if rule.when is None else parse(rule.when) for rule in (*self.old, *self.new)}
        several = [
            [(rule, self._roots[id(rule)]) for rule in rules] for rules in (self._differing(), [*self.old, *self.new])
        ]
        self._try_all(Solver(candidates(*several)))
        known = list(self._found.values())
        certain = [one for one in known if not any(map(_is_error, one.decisions))]
        return [self._told(one) for one in sorted(certain or known, key=lambda one: one.size)][:MAX_DIFFERENCES]

    def _differing(self) -> list[Rule]:
        """Return the rules of either table that the other one does not have at the same place."""
        kept = 0
        while kept < min(len(self.old), len(self.new)) and meaning(self.old[kept]) == meaning(self.new[kept]):
            kept += 1
        rest = self.old[kept:], self.new[kept:]
        there = [set(map(meaning, rules)) for rules in rest]
        own = [
            rule
            for rules, others in zip(rest, reversed(there), strict=True)
            for rule in rules
            if meaning(rule) not in others
        ]
        return own or [*rest[0], *rest[1]]

    def _try_all(self, solver: Solver) -> None:
        changed = self._differing()
        for assignment in self._assignments(solver, changed):
            self._try(solver, assignment)
            if self._tried >= MAX_RECORDS or len(self._found) >= MAX_DIFFERENCES:
                return

    def _assignments(self, solver: Solver, changed: Sequence[Rule]) -> Iterator[Assignment]:
        """Yield records that meet the rules that differ, or hardly do not, alone and together with each other rule."""
        yield {}
        changed = changed[:MAX_RULES]
        holding = [self._solved(solver, rule, holds=True) for rule in changed]
        failing = [self._solved(solver, rule, holds=False) for rule in changed]
        for answers in (*holding, *failing):
            yield from answers
        for ones in (*holding, *failing):
            for rule in (*changed, *self.old[:MAX_RULES], *self.new[:MAX_RULES]):
                for holds in (True, False):
                    for other in self._solved(solver, rule, holds=holds)[:FEW]:
                        yield from (both for one in ones if (both := merged(one, other)) is not None)

    def _solved(self, solver: Solver, rule: Rule, *, holds: bool) -> list[Assignment]:
        return solver.rule(rule, self._roots[id(rule)], holds=holds)

    def _try(self, solver: Solver, assignment: Assignment) -> None:
        """Try a record and, where another rule takes it, the same one changed so that this rule does not hold."""
        waiting = [assignment]
        for _ in range(MAX_REPAIRS):
            if not waiting or self._tried >= MAX_RECORDS:
                return
            following: list[Assignment] = []
            for one in waiting[:FEW]:
                witness = self._decided(one)
                if witness is None:
                    continue
                if _differ(*witness.decisions):
                    self._keep(self._minimal(witness))
                    return
                taken = self._rule_of(witness.decisions[0])
                if taken is not None:
                    others = self._solved(solver, taken, holds=False)[:FEW]
                    following += [both for other in others if (both := merged(one, other)) is not None and both != one]
            waiting = following

    def _rule_of(self, decision: Decision) -> Rule | None:
        return next((rule for rule in self.old if rule.name == decision.rule), None)

    def _decided(self, assignment: Assignment) -> _Witness | None:
        """Return a record with the decisions of both tables; None if there is no such record."""
        made = record_of(assignment)
        if made is None:
            return None
        record, meta = made
        self._tried += 1
        one, other = (_decide(table.stop_rules(self.stop), record, meta) for table in (self.before, self.after))
        return _Witness(assignment, record, meta, (one, other))

    def _minimal(self, witness: _Witness) -> _Witness:
        """Return the record without all that the difference does not need."""
        for place in sorted(witness.assignment, key=lambda place: (-len(place), str(place))):
            less = {other: value for other, value in witness.assignment.items() if other != place}
            smaller = self._decided(less)
            if smaller is not None and _key(smaller.decisions) == _key(witness.decisions):
                witness = smaller
        return witness

    def _keep(self, witness: _Witness) -> None:
        known = self._found.get(_key(witness.decisions))
        if known is None or witness.size < known.size:
            self._found[_key(witness.decisions)] = witness

    def _told(self, witness: _Witness) -> Difference:
        reads = self.before.stop_rules(self.stop).meta | self.after.stop_rules(self.stop).meta
        meta = {name: value for name, value in as_variable(witness.meta).items() if name in reads and value} or None
        one, other = witness.decisions
        return Difference(self.stop, witness.record, meta, verdict(one), one.rule, verdict(other), other.rule)


def _decide(rules: StopRules, record: dict[str, Any], meta: RuleMeta) -> Decision:
    key, headers, timestamp, entered = meta
    own = (
        key if "key" in rules.meta else None,
        headers if "headers" in rules.meta else None,
        timestamp if "timestamp" in rules.meta else NO_META[2],
        entered if "entered" in rules.meta else None,
    )
    return rules.decide([record], [own])[0]


def verdict(decision: Decision) -> str:
    """Return the next stop of a decision, or its outcome in words."""
    outcome = decision.outcome
    if outcome is None:
        return str(decision.stop)
    if outcome.cause is not None:
        return f"{outcome.ending}: {outcome.cause}"
    between = " at " if outcome.end is not None else ": "
    return f"{outcome.ending}{between}{outcome.detail}" if outcome.detail else str(outcome.ending)


def _key(decisions: tuple[Decision, Decision]) -> tuple[str, str, str | None, str | None]:
    one, other = decisions
    return verdict(one), verdict(other), one.rule, other.rule


def _differ(one: Decision, other: Decision) -> bool:
    return verdict(one) != verdict(other)


def _is_error(decision: Decision) -> bool:
    return decision.outcome is not None and decision.outcome.cause is Cause.RULE_ERROR
