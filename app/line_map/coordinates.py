"""The heights of a map: of its stations, of the sections that leave them, of the lanes between and the arcs above."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from math import inf

from metroline.app.line_map.graph import DEAD, DROPPED, Section
from metroline.app.line_map.isotonic import nearest
from metroline.app.line_map.ordering import Grid, Link, Place

NAME_ROOM = 24.0
"""What a station's name takes above it, in pixels as all that follows."""
NUMBER_ROOM = 17.0
"""What the number on a section takes above it."""
ROW_GAP, LANE_GAP, TRUNK_GAP, ARC_GAP = 12.0, 14.0, 38.0, 8.0
THINNEST, THICKEST, IDLE = 2.5, 13.0, 1.5
BENT_MOST = 22.0
"""A section that would bend by less is made straight, where there is room."""
SWEEPS, PASSES = 9, 2


@dataclass(slots=True)
class Stand:
    """Where a place stands, `y`; relative to that: the heights at which sections leave it, its upper and lower end."""

    exits: list[float]
    top: float
    bottom: float
    room: float = 0.0
    """What it takes above its upper end."""
    y: float = 0.0

    @property
    def above(self) -> float:
        return self.y + self.top - self.room

    @property
    def below(self) -> float:
        return self.y + self.bottom


class Layout:
    """The heights of all places of a grid; what leaves a place goes first by its loops, then by its links."""

    def __init__(self, grid: Grid) -> None:
        self.grid = grid
        loads = [*map(grid.load, grid.places), *(loop.records for loop in grid.loops)]
        self._peak = max([1, *loads])
        self.stands = {place: self._stand(place) for place in grid.places}
        self._stack()
        self._settle()
        for place in grid.ranks:
            self._straighten(place)
        self._settle()
        for _ in range(PASSES):
            for station in grid.layers:
                self._level([place for place in grid.ranks if place[0] == station and not grid.is_station(place)])
        for place in grid.ranks:
            self._straighten(place, in_its_room=True)
        self._lay_trunks()
        self.arcs = self._arcs()

    def width(self, records: int) -> float:
        """How thick a section is drawn."""
        return THINNEST + (THICKEST - THINNEST) * min(1.0, records / self._peak) if records else IDLE

    def exit_of(self, link: Link) -> float:
        """The height at which a link leaves its place."""
        stand = self.stands[link.start]
        index = len(self.grid.loops_from(link.start)) + self.grid.leaving[link.start].index(link)
        return stand.y + stand.exits[index]

    def loop_exit(self, loop: int) -> float:
        """The height at which a loop leaves its place."""
        section = self.grid.loops[loop]
        place = (section.start, self.grid.layers[section.start])
        return self.stands[place].y + self.stands[place].exits[self.grid.loops_from(place).index(section)]

    def begun(self, place: Place) -> list[tuple[Section, float]]:
        """The sections that begin at a place and the heights at which they leave it."""
        begun = [*self.grid.loops_from(place), *(link.section for link in self.grid.leaving.get(place, []))]
        heights = [self.stands[place].y + exit_ for exit_ in self.stands[place].exits]
        return [(section, y) for section, y in zip(begun, heights, strict=True) if section is not None]

    def _stand(self, place: Place) -> Stand:
        """The section with the most records goes straight through a station, the others leave above and below it."""
        if not self.grid.is_station(place):
            half = self.width(self.grid.load(place)) / 2
            return Stand([0.0], -half, half)
        if place[0].is_terminal:
            return Stand([], -10.0, 10.0, room=8.0)
        loads = self._loads(place)
        exits = [0.0]
        for upper, lower in pairwise(loads):
            exits.append(exits[-1] + self._apart(upper, lower))
        straight = exits[loads.index(max(loads))] if loads else 0.0
        return self._around(place, [exit_ - straight for exit_ in exits[: len(loads)]], 0.0)

    def _loads(self, place: Place) -> list[int]:
        links = self.grid.leaving.get(place, [])
        return [each.records for each in self.grid.loops_from(place)] + [each.records for each in links]

    def _apart(self, upper: int, lower: int) -> float:
        """How far apart two sections leave a station, the number of the lower one between them."""
        return self.width(upper) / 2 + NUMBER_ROOM + self.width(lower) / 2

    def _around(self, place: Place, exits: list[float], y: float) -> Stand:
        half = max(map(self.width, [self.grid.load(place), *self._loads(place)])) / 2 + 9
        return Stand(exits, min([0.0, *exits]) - half, max([0.0, *exits]) + half, NAME_ROOM, y)

    def _stack(self) -> None:
        for row in self.grid.rows:
            for upper, place in pairwise(row):
                self.stands[place].y = self.stands[upper].y + self._gap(upper, place)

    def _settle(self) -> None:
        """Heights at which links run straight, those with many records and long ones first."""
        for sweep in range(SWEEPS):
            for row in self.grid.rows if sweep % 2 == 0 else reversed(self.grid.rows):
                wishes = [self._wishes(place, ahead=sweep > 0) for place in row]
                gaps = [self._gap(upper, lower) for upper, lower in pairwise(row)]
                for place, y in zip(row, nearest(wishes, gaps), strict=True):
                    self.stands[place].y = y

    def _gap(self, upper: Place, lower: Place) -> float:
        above, below = self.stands[upper], self.stands[lower]
        queues = not self.grid.is_station(upper) and not self.grid.is_station(lower)
        return above.bottom + (LANE_GAP if queues else ROW_GAP) + below.room - below.top

    def _wishes(self, place: Place, *, ahead: bool) -> list[tuple[float, float]]:
        """The heights at which a link of this place would be straight, each with how much that matters."""
        stand = self.stands[place]
        wishes = [(self.exit_of(link), self._weight(link)) for link in self.grid.coming.get(place, [])]
        for link in self.grid.leaving.get(place, []) if ahead else []:
            if link.end in self.grid.ranks:
                wishes.append((self.stands[link.end].y - self.exit_of(link) + stand.y, self._weight(link)))
        return wishes or [(stand.y, 1.0)]

    def _weight(self, link: Link) -> float:
        queues = (not self.grid.is_station(link.start)) + (not self.grid.is_station(link.end))
        return (1 + 40 * (link.records / self._peak) ** 2) * (1, 2, 6)[queues]

    def _straighten(self, place: Place, *, in_its_room: bool = False) -> None:
        """Moves the exits of a station by a little to where they lead, as far as the numbers between them allow."""
        stand, links = self.stands[place], self.grid.leaving.get(place, [])
        if not links or not self.grid.is_station(place):
            return
        loads, first = self._loads(place), len(self.grid.loops_from(place))
        wishes = [(exit_, 0.1) for exit_ in stand.exits]
        for index, link in enumerate(links, first):
            wish = self.stands[link.end].y - stand.y
            if link.end in self.grid.ranks and abs(wish - stand.exits[index]) < BENT_MOST:
                wishes[index] = (wish, self._weight(link))
        exits = nearest([[wish] for wish in wishes], [self._apart(*pair) for pair in pairwise(loads)])
        self.stands[place] = self._around(place, exits, stand.y)
        if in_its_room and not self._fits(place, stand.y):
            self.stands[place] = stand

    def _level(self, queues: list[Place]) -> None:
        """Gives all lanes that lead to one station one height, one that some have already, if there is room for it."""
        heights = sorted({self.stands[queue].y for queue in queues})
        for y in heights if len(heights) > 1 else []:
            if all(self._fits(queue, y) for queue in queues):
                for queue in queues:
                    self.stands[queue].y = y
                return

    def _fits(self, place: Place, y: float) -> bool:
        row, rank = self.grid.rows[place[1]], self.grid.ranks[place]
        upper, lower = row[rank - 1 : rank] if rank else [], row[rank + 1 : rank + 2]
        return all(self.stands[each].y + self._gap(each, place) <= y + 0.01 for each in upper) and all(
            y + self._gap(place, each) <= self.stands[each].y + 0.01 for each in lower
        )

    def _lay_trunks(self) -> None:
        """The lanes to dropped and dead run level below all else."""
        y = max(self.stands[place].below for row in self.grid.rows for place in row)
        for terminal in (DROPPED, DEAD):
            trunk = [place for place in self.grid.places if place[0] == terminal]
            y += TRUNK_GAP if trunk else 0
            for place in trunk:
                self.stands[place].y = y

    def _arcs(self) -> list[float]:
        """The height of the arc of each loop: above all that stands in the columns that it spans."""
        tops = [min([inf, *(self.stands[place].above for place in row)]) for row in self.grid.rows]
        arcs: list[float] = []
        for loop in self.grid.loops:
            span = range(self.grid.layers[loop.end], self.grid.layers[loop.start] + 1)
            half = self.width(loop.records) / 2
            arcs.append(min(tops[column] for column in span) - ARC_GAP - half)
            for column in span:
                tops[column] = arcs[-1] - half
        return arcs
