"""What travels where: the sections between a line's stations, by its rules and by the routes that records took."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from itertools import pairwise

from metroline.routing.addresses import SOURCE
from metroline.routing.outcome import Ending
from metroline.routing.rules.network import Network
from metroline.routing.rules.rule import Rule


@dataclass(frozen=True, slots=True)
class Station:
    """The source, a stop, or a terminal, where journeys end. A stop may be named as a terminal is."""

    name: str
    is_terminal: bool = False


START = Station(SOURCE)
DELIVERED, DROPPED, DEAD = (Station(ending.value, is_terminal=True) for ending in Ending)
TERMINALS = (DELIVERED, DROPPED, DEAD)


@dataclass(slots=True)
class Section:
    """The way from one station to the next: the rules that lead along it and the records that took it."""

    start: Station
    end: Station
    rules: list[Rule] = field(default_factory=list)
    records: int = 0


def sections_of(network: Network, traffic: Mapping[str, Mapping[str, int]]) -> list[Section]:
    """Every section that a rule or a record leads along, those of the table first, in its order.

    `traffic` counts outcomes by route: `{"contact_point>log": {"delivered": 3, "dropped": 0, "dead": 0}}`.
    """
    found: dict[tuple[Station, Station], Section] = {}

    def section(start: Station, end: Station) -> Section:
        return found.setdefault((start, end), Section(start, end))

    for rule in network.table.rules:
        section(Station(rule.after), DROPPED if rule.to is None else Station(rule.to)).rules.append(rule)
    for stop in network.stops:
        if stop not in network.edges:
            section(Station(stop), DELIVERED)
    for route, outcomes in traffic.items():
        stations = [START, *(Station(stop) for stop in stops_of(route))]
        for start, end in pairwise(stations):
            section(start, end).records += sum(outcomes.values())
        for terminal in TERMINALS:
            if outcomes.get(terminal.name):
                section(stations[-1], terminal).records += outcomes[terminal.name]
    return list(found.values())


def stops_of(route: str) -> list[str]:
    """The stops of a route, which is written as `a>b>c`; an empty one visited none."""
    return route.split(">") if route else []


def layers_of(sections: Iterable[Section]) -> dict[Station, int]:
    """How far each station is from the source: the longest way there that does not loop; terminals come last."""
    ahead: dict[Station, list[Station]] = {START: []}
    for section in sections:
        ahead.setdefault(section.start, []).append(section.end)
        ahead.setdefault(section.end, [])
    order, loops = _explored(ahead)
    layers = dict.fromkeys(ahead, 1) | {START: 0}
    for start in order:
        for end in ahead[start]:
            if (start, end) not in loops:
                layers[end] = max(layers[end], layers[start] + 1)
    last = max(layer for station, layer in layers.items() if not station.is_terminal) + 1
    return {station: last if station.is_terminal else layer for station, layer in layers.items()}


def _explored(ahead: Mapping[Station, list[Station]]) -> tuple[list[Station], set[tuple[Station, Station]]]:
    """All stations, each before those that it leads to, and the sections left out for that: they close a loop."""
    left: list[Station] = []
    loops: set[tuple[Station, Station]] = set()
    seen: set[Station] = set()
    for root in ahead:
        way = [] if root in seen else [(root, iter(ahead[root]))]
        seen.add(root)
        on_the_way = {root}
        while way:
            station, ends = way[-1]
            end = next(ends, None)
            if end is None:
                way.pop()
                on_the_way.discard(station)
                left.append(station)
            elif end in on_the_way:
                loops.add((station, end))
            elif end not in seen:
                seen.add(end)
                on_the_way.add(end)
                way.append((end, iter(ahead[end])))
    return left[::-1], loops
