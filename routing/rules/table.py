"""The rules table: parse, compile, decide."""

from __future__ import annotations

from collections.abc import Sequence, Set
from dataclasses import dataclass, field
from typing import Any

from metroline.routing.messages.itinerary import Decider, Decision, Itinerary
from metroline.routing.outcome import Ending
from metroline.routing.records.field_reader import FieldReader
from metroline.routing.records.field_sets import union
from metroline.routing.records.fingerprints import fingerprints
from metroline.routing.rules.rule import Rule
from metroline.routing.rules.stop_rules import MEMORY, StopRules, remembered
from metroline.routing.rules.toml_reader import read_rules


@dataclass(frozen=True, slots=True)
class RulesTable:
    """An immutable rules table with its version; 0 is a file that was not published."""

    version: int
    text: str
    rules: tuple[Rule, ...]
    _stop_rules: dict[str, StopRules] = field(compare=False)
    reader: FieldReader = field(compare=False)
    """Reads the fields that any rule of the table reads: what a plan is built on."""
    _plans: dict[tuple[int, ...], Itinerary] = field(default_factory=dict, compare=False)
    _planned_for: dict[str, dict[Any, Itinerary | Decision]] = field(default_factory=dict, compare=False)

    @classmethod
    def parse(
        cls, text: str, version: int = 0, file: str = "routes.toml", served: Set[str] | None = None
    ) -> RulesTable:
        """Reads and compiles a table in TOML; raises `InvalidRules` that lists every problem with its line.

        `served`, the stops that services serve, are for that list alone; `Network.read` checks a table that parses too.
        """
        rules, conditions = read_rules(text, file, served)
        junctions: dict[str, StopRules] = {}
        for rule, condition in zip(rules, conditions, strict=True):
            junctions.setdefault(rule.after, StopRules(rule.after, version)).add(rule, condition)
        for stop_rules in junctions.values():
            stop_rules.close()
        reads = union(stop_rules.reads for stop_rules in junctions.values())
        return cls(version, text, rules, junctions, FieldReader(reads))

    def stop_rules(self, after: str) -> StopRules:
        """The rules after a stop; one without rules is the end of the line."""
        found = self._stop_rules.get(after)
        if found is None:
            found = self._stop_rules[after] = StopRules(after, self.version)
            found.close()
        return found

    def decide(self, after: str, record: dict[str, Any]) -> Decision:
        """The first rule after `after` that holds for the record names the next stop or the drop. Pure."""
        return self.stop_rules(after).decide([record])[0]

    def plans(self, after: str, records: Sequence[dict[str, Any]]) -> list[Itinerary | Decision]:
        """A plan for each record; the same values in the fields that the table reads give the same plan."""
        reads = self.reader.reads
        if reads is None:
            return [self.plan(after, record) for record in records]
        memory = self._planned_for.setdefault(after, {})
        return remembered(memory, fingerprints(records, sorted(reads)), lambda at: self.plan(after, records[at]))

    def plan(self, after: str, record: dict[str, Any]) -> Itinerary | Decision:
        """The whole way of a record from `after`, as a forecast with the record as it is (Routing Slip).

        It ends at the end of the line, at a forecast drop, or before an error, no route or a stop that is in it
        already, where its last leg leads to the switch. Where the very first decision ends the journey, that decision
        is returned: there is nothing to forecast.
        """
        legs: list[Decision | Decider] = []
        stops: set[str] = set()
        while True:
            decision = self.decide(after, record)
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
        """Equal plans are the same object, so that records with one plan travel together."""
        key = tuple(map(id, legs))
        plan = self._plans.get(key)
        if plan is None:
            if len(self._plans) >= MEMORY:
                self._plans.clear()
            plan = self._plans[key] = Itinerary(self.version, tuple(legs))
        return plan
