"""The network of stops that a rules table defines: reachable stops, cycles, and stops without a service."""

from __future__ import annotations

from collections.abc import Set
from dataclasses import dataclass
from typing import Self

from metroline.routing.addresses import ONLY_END, SOURCE
from metroline.routing.errors import InvalidRules
from metroline.routing.rules.rule import Rule, label_of
from metroline.routing.rules.served_stops import unserved, way_of
from metroline.routing.rules.table import RulesTable
from metroline.routing.rules.toml_lines import line_of_rule
from metroline.routing.spelling import suggestion


@dataclass(frozen=True, slots=True)
class Network:
    """A graph of stops as nodes and rules as edges; `edges[stop]` are the rules after a stop, in order."""

    table: RulesTable
    edges: dict[str, list[Rule]]

    @classmethod
    def read(
        cls,
        text: str,
        served: Set[str] | None,
        file: str = "routes.toml",
        ends: frozenset[str] = ONLY_END,
        last: Set[str] = frozenset(),
    ) -> Self:
        """Return the network of a rules table in TOML.

        `served` are the stops that services serve; None if the services are not known. `ends` are the names of the
        line's ends, and `last` the stops after which journeys are over: its ends in other systems than Kafka. Raise
        `InvalidRules` with every problem of the table and of its stops.
        """
        network = cls.of(RulesTable.parse(text, file=file, served=served, ends=ends))
        network.validate(frozenset(network.stops) if served is None else served, file, last)
        return network

    @classmethod
    def of(cls, table: RulesTable) -> Self:
        """Return the network of a rules table without validating its stops."""
        edges: dict[str, list[Rule]] = {}
        for rule in table.rules:
            edges.setdefault(rule.after, []).append(rule)
        return cls(table, edges)

    @property
    def stops(self) -> tuple[str, ...]:
        """Every stop that the table names, nearest to the source first and the unreachable ones last."""
        ways = [(rule.after, self.table.next_stop(rule)) for rule in self.table.rules]
        named = [name for way in ways for name in way if name and name != SOURCE]
        return tuple(dict.fromkeys([*self.reachable, *named]))

    @property
    def reachable(self) -> tuple[str, ...]:
        """The stops that a journey can reach, nearest to the source first."""
        seen: dict[str, None] = {}
        waiting = [SOURCE]
        while waiting:
            for rule in self.edges.get(waiting.pop(0), []):
                stop = self.table.next_stop(rule)
                if stop is not None and stop not in seen:
                    seen[stop] = None
                    waiting.append(stop)
        return tuple(seen)

    @property
    def cycles(self) -> tuple[tuple[str, ...], ...]:
        """Cycles of stops, at least one through each stop that lies on any. A line may loop on purpose."""
        found: list[tuple[str, ...]] = []
        for stop in self.stops:
            if any(stop in cycle for cycle in found):
                continue
            way = self._way(stop, stop)
            if way is not None:
                found.append(way)
        return tuple(found)

    def _way(self, start: str, end: str) -> tuple[str, ...] | None:
        """Return the stops on the shortest way from `start` to `end`, without `end`; None if there is no way."""
        waiting: list[tuple[str, ...]] = [(start,)]
        seen: set[str] = set()
        while waiting:
            way = waiting.pop(0)
            for rule in self.edges.get(way[-1], []):
                if rule.to == end:
                    return way
                stop = self.table.next_stop(rule)
                if stop is not None and stop not in seen:
                    seen.add(stop)
                    waiting.append((*way, stop))
        return None

    @property
    def warnings(self) -> tuple[str, ...]:
        """Properties of the table that may be intended or a mistake."""
        return tuple(f"a record may loop: {' > '.join([*cycle, cycle[0]])}" for cycle in self.cycles)

    def validate(self, served: Set[str], file: str = "routes.toml", last: Set[str] = frozenset()) -> None:
        """Raise `InvalidRules` with every stop that no service serves or that cannot be reached from the source.

        No rule may come after a stop in `last`, where journeys are over. A published table that has such a rule can
        still be read.
        """
        ways = [way_of(index, rule) for index, rule in enumerate(self.table.rules)]
        found = {(index, key): what for index, key, what in unserved(ways, served, self.table.ends)}
        reachable = {SOURCE, *self.reachable}
        begun = reachable & {SOURCE, *served}
        for index, rule in enumerate(self.table.rules):
            if rule.after not in reachable:
                hint = suggestion(rule.after, begun)
                what = f"{label_of(index, rule)}: the stop {rule.after!r} cannot be reached from 'source'{hint}"
                found.setdefault((index, "after"), what)
            if rule.after in last:
                what = f"no rule may come after the end {rule.after!r}, where journeys are over"
                found[index, "after"] = f"{label_of(index, rule)}: {what}"
        problems = [(line_of_rule(self.table.text, *place), what) for place, what in found.items()]
        if SOURCE not in self.edges:
            problems.append((1, "no rule has after = 'source': no journey could begin"))
        if problems:
            raise InvalidRules(tuple(f"{file}:{line}: {what}" for line, what in sorted(problems)))
