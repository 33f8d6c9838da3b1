"""The graph that is drawn: stations, and the sections between them that rules and records lead along."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import pairwise

from metroline.routing.addresses import SOURCE
from metroline.routing.outcome import Ending
from metroline.routing.rules.network import Network
from metroline.routing.rules.rule import Rule

Traffic = Mapping[tuple[str, ...], Mapping[Ending, int]]
"""Records by route and ending. A route is the stops that a record visited, in order, without the source."""


@dataclass(frozen=True, slots=True)
class Station:
    """The source, a stop, or a terminal, where journeys end. A stop may have the name of a terminal."""

    name: str
    is_terminal: bool = False


START = Station(SOURCE)
DELIVERED, DROPPED, DEAD = (Station(ending.value, is_terminal=True) for ending in Ending)
TERMINALS = (DELIVERED, DROPPED, DEAD)


@dataclass(slots=True)
class Section:
    """An edge from one station to another: the rules that lead along it and the number of records that took it."""

    start: Station
    end: Station
    rules: list[Rule] = field(default_factory=list)
    records: int = 0


def sections_of(network: Network, traffic: Traffic) -> list[Section]:
    """Return every section that a rule or a record leads along, those of the rules first, in their order."""
    found: dict[tuple[Station, Station], Section] = {}

    def section(start: Station, end: Station) -> Section:
        return found.setdefault((start, end), Section(start, end))

    for rule in network.table.rules:
        section(Station(rule.after), _goal(network, rule)).rules.append(rule)
    for stop in network.stops:
        if stop not in network.edges:
            section(Station(stop), DELIVERED)
    for route, outcomes in traffic.items():
        stations = [START, *map(Station, route)]
        for start, end in pairwise(stations):
            section(start, end).records += sum(outcomes.values())
        for ending, terminal in zip(Ending, TERMINALS, strict=True):
            if outcomes.get(ending):
                section(stations[-1], terminal).records += outcomes[ending]
    return list(found.values())


def _goal(network: Network, rule: Rule) -> Station:
    """Return the station to which a rule leads. All ends are one station."""
    if rule.to is None:
        return DROPPED
    stop = network.table.next_stop(rule)
    return DELIVERED if stop is None else Station(stop)
