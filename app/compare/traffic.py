"""What travels where: the sections between a line's stations, by its rules and by the routes that records took."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from itertools import pairwise

from routing.network import Network
from routing.outcome import Ending
from routing.rules import SOURCE
from routing.table_file import Rule


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

    for rule in network.book.rules:
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
    layers = dict.fromkeys(ahead, 1) | {START: 0}
    for station in _from_the_source(ahead):
        for end in ahead[station]:
            if (station, end) not in _loops(ahead):
                layers[end] = max(layers[end], layers[station] + 1)
    last = max(layers[station] for station in layers if not station.is_terminal) + 1
    return {station: last if station.is_terminal else layer for station, layer in layers.items()}
