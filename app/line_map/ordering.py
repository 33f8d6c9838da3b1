"""Which station of a map stands in which column, and in which order, so that sections cross little."""

from __future__ import annotations

from bisect import bisect, insort
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

from metroline.app.line_map.graph import DEAD, DROPPED, Section, Station, layers_of

Place = tuple[Station, int]
"""A station and a column: its own, where it stands, or one before it, where a lane leads to it."""

SWEEPS = 8


@dataclass(eq=False, slots=True)
class Link:
    """What leads from a place to one in the next column: a section, or a lane that all share who come from further."""

    start: Place
    end: Place
    records: int
    section: Section | None
    """The section that begins here."""


class Grid:
    """The places of a map by column, from top to bottom, and the links between them.

    A loop leads back to a column before, or to its own. The ways to dropped and dead are no part of the rows: they run
    below all else.
    """

    def __init__(self, sections: Sequence[Section]) -> None:
        self.layers = layers_of(sections)
        self.columns = max(self.layers.values()) + 1
        loops = [each for each in sections if self.layers[each.end] <= self.layers[each.start]]
        self.loops = sorted(loops, key=lambda each: self.layers[each.start] - self.layers[each.end])
        self.leaving: dict[Place, list[Link]] = {}
        self.coming: dict[Place, list[Link]] = {}
        self._link(sections)
        self.places: list[Place] = list(dict.fromkeys([*self.layers.items(), *self.coming]))
        self.rows = self._ordered()
        self.ranks = {place: rank for row in self.rows for rank, place in enumerate(row)}
        for links in self.leaving.values():
            links.sort(key=self._leaves_at)

    def is_station(self, place: Place) -> bool:
        return self.layers[place[0]] == place[1]

    def load(self, place: Place) -> int:
        """How many records come to a place from the column before."""
        return sum(link.records for link in self.coming.get(place, []))

    def loops_from(self, place: Place) -> list[Section]:
        return [loop for loop in self.loops if self.is_station(place) and loop.start == place[0]]

    def _link(self, sections: Iterable[Section]) -> None:
        queues: dict[Place, Link] = {}
        for section in sections:
            first = self.layers[section.start]
            for column in range(first, self.layers[section.end]):
                begins = column == first
                start = (section.start if begins else section.end, column)
                if not begins and start in queues:
                    queues[start].records += section.records
                    continue
                link = Link(start, (section.end, column + 1), section.records, section if begins else None)
                if not begins:
                    queues[start] = link
                self.leaving.setdefault(link.start, []).append(link)
                self.coming.setdefault(link.end, []).append(link)

    def _ordered(self) -> list[list[Place]]:
        """The rows of least crossings among those that sweeping over the columns, there and back, comes to."""
        rows: list[list[Place]] = [[] for _ in range(self.columns)]
        for place in self.places:
            if place[0] not in (DROPPED, DEAD):
                rows[place[1]].append(place)
        best, fewest = rows, self._crossings(rows)
        for sweep in range(SWEEPS):
            rows = self._swept(rows, to_the_right=sweep % 2 == 0)
            crossings = self._crossings(rows)
            if crossings < fewest:
                best, fewest = rows, crossings
        return best

    def _swept(self, rows: list[list[Place]], *, to_the_right: bool) -> list[list[Place]]:
        """Each column sorted by where what it is linked with in the column before, in this direction, is on average."""
        swept = [list(row) for row in rows]
        columns = range(1, self.columns) if to_the_right else range(self.columns - 2, -1, -1)
        for column in columns:
            beside = {place: index for index, place in enumerate(swept[column - 1 if to_the_right else column + 1])}
            wished: dict[Place, float] = {}
            for index, place in enumerate(swept[column]):
                linked = self.coming.get(place, []) if to_the_right else self.leaving.get(place, [])
                others = [link.start if to_the_right else link.end for link in linked]
                found = [beside[other] for other in others if other in beside]
                wished[place] = sum(found) / len(found) if found else index
            swept[column].sort(key=wished.__getitem__)
        return swept

    def _crossings(self, rows: list[list[Place]]) -> int:
        crossings = 0
        for left, right in pairwise(rows):
            index = {place: number for number, place in enumerate(right)}
            passed: list[int] = []
            for place in left:
                ends = sorted(index[link.end] for link in self.leaving.get(place, []) if link.end in index)
                crossings += sum(len(passed) - bisect(passed, end) for end in ends)
                for end in ends:
                    insort(passed, end)
        return crossings

    def _leaves_at(self, link: Link) -> float:
        """The order of links from top to bottom: that of where they lead; dropped and dead last."""
        return self.ranks.get(link.end, len(self.ranks) + (link.end[0] == DEAD))
