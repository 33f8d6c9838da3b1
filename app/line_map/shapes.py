"""The sizes on a map: how thick a section is drawn, and how much height a vertex takes. All in pixels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from metroline.app.line_map.ordering import LayeredGraph, Vertex

NAME_HEIGHT = 24.0
"""Room for the name of a station, above it."""
NUMBER_HEIGHT = 17.0
"""Room for the number on a section, above it."""
STATION_GAP, DUMMY_GAP = 12.0, 14.0
TERMINAL_GAP = 38.0
"""Room between terminals that stand below each other, with the figures under their names."""
THINNEST, THICKEST, UNUSED = 2.5, 13.0, 1.5


@dataclass(frozen=True, slots=True)
class Room:
    """Room that a map leaves for what stands on it, whatever it says at the moment."""

    name_height: float = NAME_HEIGHT
    """Height above a station, in pixels."""
    foot: float = 0.0
    """Height below a station, in pixels."""
    half_name: float = 0.0
    """Least width on either side of the middle of a station, in pixels."""
    number_letters: int = 0
    """Least number of letters on a section."""
    number_height: float = NUMBER_HEIGHT
    """Height of the number on a section, above it."""
    terminal_gap: float = TERMINAL_GAP
    """Height between the terminals that stand below everything else."""
    is_beside: bool = False
    """True if names stand beside their stations, so that long ones make no layer wider."""


@dataclass(slots=True)
class Shape:
    """The height of a vertex: `y` on the map and, relative to it, where sections leave and where it begins and ends."""

    exits: list[float]
    top: float
    bottom: float
    room: float = 0.0
    """Height of the label above `top`."""
    foot: float = 0.0
    """Height of the figures below `bottom`."""
    y: float = 0.0

    @property
    def above(self) -> float:
        return self.y + self.top - self.room

    @property
    def below(self) -> float:
        return self.y + self.bottom + self.foot


class Sizes:
    """Derives sizes from the number of records, in proportion to the busiest section of the map."""

    def __init__(self, graph: LayeredGraph, room: Room) -> None:
        self.graph = graph
        self.room = room
        self.peak = max([1, *map(graph.load, graph.vertices), *(loop.records for loop in graph.loops)])

    def thickness(self, records: int) -> float:
        return THINNEST + (THICKEST - THINNEST) * min(1.0, records / self.peak) if records else UNUSED

    def shape(self, vertex: Vertex) -> Shape:
        """Return the shape of a vertex at height 0.

        The busiest section goes straight through a station; the others leave above and below it.
        """
        if not self.graph.is_station(vertex):
            half = self.thickness(self.graph.load(vertex)) / 2
            return Shape([0.0], -half, half)
        if vertex[0].is_terminal:
            return Shape([], -10.0, 10.0, room=8.0)
        loads = self.loads(vertex)
        exits = [0.0]
        for gap in self.exit_gaps(vertex):
            exits.append(exits[-1] + gap)
        straight = exits[loads.index(max(loads))] if loads else 0.0
        return self.around(vertex, [exit_ - straight for exit_ in exits[: len(loads)]], 0.0)

    def around(self, vertex: Vertex, exits: Sequence[float], y: float) -> Shape:
        """Return the shape of a station at height `y` that reaches around these exits."""
        half = max(map(self.thickness, [self.graph.load(vertex), *self.loads(vertex)])) / 2 + 9
        top, bottom = min([0.0, *exits]) - half, max([0.0, *exits]) + half
        return Shape(list(exits), top, bottom, self.room.name_height, self.room.foot, y)

    def loads(self, vertex: Vertex) -> list[int]:
        """Return the records of what leaves a vertex, from top to bottom: loops first, then links."""
        links = self.graph.outgoing.get(vertex, [])
        return [each.records for each in self.graph.loops_from(vertex)] + [each.records for each in links]

    def exit_gaps(self, vertex: Vertex) -> list[float]:
        """Return the distance from each exit of a station to the next, with room for the number of the lower one."""
        return [
            self.thickness(upper) / 2 + self.room.number_height + self.thickness(lower) / 2
            for upper, lower in pairwise(self.loads(vertex))
        ]

    def gap(self, upper: tuple[Vertex, Shape], lower: tuple[Vertex, Shape]) -> float:
        """Return the distance that the heights of two neighbours in a layer must have."""
        are_dummies = not self.graph.is_station(upper[0]) and not self.graph.is_station(lower[0])
        return (
            upper[1].bottom + upper[1].foot + (DUMMY_GAP if are_dummies else STATION_GAP) + lower[1].room - lower[1].top
        )
