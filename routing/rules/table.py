"""The rules table: parses and compiles its rules, decides the next stop, and plans itineraries."""

from __future__ import annotations

from collections.abc import Sequence, Set
from dataclasses import dataclass, field
from typing import Any

from metroline.routing.addresses import ONLY_END
from metroline.routing.messages.itinerary import Decider, Decision, Itinerary
from metroline.routing.outcome import Ending
from metroline.routing.records.field_reader import FieldReader
from metroline.routing.records.field_sets import union
from metroline.routing.records.fingerprints import fingerprints
from metroline.routing.rules.rule import Rule
from metroline.routing.rules.rule_meta import NO_META, RuleMeta, RuleMetas
from metroline.routing.rules.stop_rules import MAX_CACHED, StopRules, cached
from metroline.routing.rules.toml_reader import read_rules


@dataclass(frozen=True, slots=True)
class RulesTable:
    """An immutable rules table with its version, which is 0 for a file that was not published."""

    version: int
    text: str
    rules: tuple[Rule, ...]
    _stop_rules: dict[str, StopRules] = field(compare=False)
    reader: FieldReader = field(compare=False)
    """Reads the fields on which a plan depends: all fields that any rule of the table reads."""
    ends: frozenset[str] = ONLY_END
    """The names of the line's ends. A rule that leads anywhere else leads to a stop."""
    _plans: dict[tuple[int, ...], Itinerary] = field(default_factory=dict, compare=False)
    _planned_for: dict[str, dict[Any, Itinerary | Decision]] = field(default_factory=dict, compare=False)

    @classmethod
    def parse(
        cls,
        text: str,
        version: int = 0,
        file: str = "routes.toml",
        served: Set[str] | None = None,
        ends: frozenset[str] = ONLY_END,
    ) -> RulesTable:
        """Return the table in a TOML text; raise `InvalidRules` with every problem and its line.

        `ends` are the names of the line's ends; a rule that leads anywhere else leads to a stop. If the table has
        problems and `served`, the stops that services serve, is given, the problems include the stops that no service
        serves. Call `Network.read` to check the stops of a table that has no other problem.
        """
        rules, conditions = read_rules(text, file, served, ends)
        by_stop: dict[str, StopRules] = {}
        for rule, condition in zip(rules, conditions, strict=True):
            by_stop.setdefault(rule.after, StopRules(rule.after, version, ends)).add(rule, condition)
        for stop_rules in by_stop.values():
            stop_rules.close()
        reads = union(stop_rules.reads for stop_rules in by_stop.values())
        meta = frozenset[str]().union(*(stop_rules.meta for stop_rules in by_stop.values()))
        return cls(version, text, rules, by_stop, FieldReader(reads, meta), ends)

    def next_stop(self, rule: Rule) -> str | None:
        """Return the stop to which a rule leads; None if it ends journeys."""
        return None if rule.to in self.ends else rule.to

    def stop_rules(self, after: str) -> StopRules:
        """Return the rules after a stop. What leaves a stop without rules is delivered at the default end."""
        found = self._stop_rules.get(after)
        if found is None:
            found = self._stop_rules[after] = StopRules(after, self.version, self.ends)
            found.close()
        return found

    def decide(self, after: str, record: dict[str, Any], meta: RuleMeta = NO_META) -> Decision:
        """Return the decision of the first rule after the stop `after` that holds for the record."""
        return self.stop_rules(after).decide([record], [meta])[0]

    def plans(
        self, after: str, records: Sequence[dict[str, Any]], metas: RuleMetas = None
    ) -> list[Itinerary | Decision]:
        """Return what `plan` returns for each record; records equal in the fields that the table reads share a plan."""
        known = metas or [NO_META] * len(records)
        reads = self.reader.reads
        if reads is None:
            return [self.plan(after, record, meta) for record, meta in zip(records, known, strict=True)]
        cache = self._planned_for.setdefault(after, {})
        keys = fingerprints(records, sorted(reads))
        if self.reader.meta:
            keys = list(zip(keys, known, strict=True))
        return cached(cache, keys, lambda at: self.plan(after, records[at], known[at]))

    def plan(self, after: str, record: dict[str, Any], meta: RuleMeta = NO_META) -> Itinerary | Decision:
        """Return the itinerary of a record from the stop `after`, if no service changes the record (Routing Slip).

        The itinerary ends at the end of the line or at a drop. Before a decision that would be a dead letter, and
        before a stop that the itinerary already has, its last leg leads to the switch. If the first decision ends the
        journey, return that decision.
        """
        legs: list[Decision | Decider] = []
        stops: set[str] = set()
        while True:
            decision = self.decide(after, record, meta)
            dead = decision.outcome is not None and decision.outcome.ending is Ending.DEAD
            if not legs and decision.outcome is not None:
                return decision
            if dead or decision.stop in stops:
                legs.append(Decider.SWITCH)
                return self._planned(legs)
            legs.append(decision)
            if decision.stop is None:
                return self._planned(legs)
            stops.add(decision.stop)
            after = decision.stop

    def _planned(self, legs: list[Decision | Decider]) -> Itinerary:
        """Return the itinerary with these legs; equal ones are the same object, so that their records stay together."""
        key = tuple(map(id, legs))
        plan = self._plans.get(key)
        if plan is None:
            if len(self._plans) >= MAX_CACHED:
                self._plans.clear()
            plan = self._plans[key] = Itinerary(self.version, tuple(legs))
        return plan
