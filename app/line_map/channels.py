"""The ways between two columns of a map: level, along an upright track of its own for each place, and level again."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from metroline.app.line_map.coordinates import Layout
from metroline.app.line_map.ordering import Link, Place

RADIUS = 11.0
MARGIN = RADIUS + 3
"""What is kept free on either side of the tracks: a bend's radius and a bit."""
TRACK_GAP = 8.0
FEW = 12
"""Up to so many tracks are tried in other orders."""


@dataclass(frozen=True, slots=True)
class Join:
    """What comes to a track: a link from the left or a loop from its arc above."""

    y: float
    records: int
    link: Link | None = None
    loop: int = -1

    @property
    def is_loop(self) -> bool:
        return self.loop >= 0


@dataclass(eq=False, slots=True)
class Track:
    """The upright part of the ways to one place; `goal` None is the way up to the arc of a loop."""

    goal: Place | None
    y: float
    joins: list[Join]
    x: float = 0.0

    @property
    def records(self) -> int:
        return sum(join.records for join in self.joins)

    @property
    def from_the_left(self) -> list[float]:
        """The heights of what lies at its left: sections that join it, or the arc that it climbs to."""
        starts = [join.y for join in self.joins if not (join.is_loop and self.goal)]
        return starts if self.goal else [*starts, self.y]

    @property
    def to_the_right(self) -> list[float]:
        """The heights of what lies at its right: the place that it leads to, and arcs that come down here."""
        arcs = [join.y for join in self.joins if join.is_loop and self.goal]
        return [*arcs, self.y] if self.goal else arcs

    def reaches(self, y: float) -> bool:
        ends = [self.y, *(join.y for join in self.joins)]
        return min(ends) < y < max(ends)

    @property
    def is_straight(self) -> bool:
        """Whether all comes in level already: it needs no track."""
        return all(not join.is_loop and abs(join.y - self.y) < 0.5 for join in self.joins)


class Channel:
    """What lies between a column and the next: its tracks, in an order in which ways cross little and share nothing."""

    def __init__(self, layout: Layout, column: int) -> None:
        self.layout = layout
        self.tracks = [*self._climbs(column), *self._arrivals(column)]
        bent = [track for track in self.tracks if not track.is_straight]
        bent.sort(key=lambda track: (track.goal is not None, -track.y))
        self.width = self._placed(self._improved(bent))

    def _climbs(self, column: int) -> Iterator[Track]:
        """The ways up to the arcs of the loops that begin here."""
        for number, loop in enumerate(self.layout.grid.loops):
            if self.layout.grid.layers[loop.start] == column:
                leaves = Join(self.layout.loop_exit(number), loop.records, loop=number)
                yield Track(None, self.layout.arcs[number], [leaves])

    def _arrivals(self, column: int) -> Iterator[Track]:
        """The ways to each place of the next column, from links and from arcs."""
        layout, grid = self.layout, self.layout.grid
        for place in grid.places:
            if place[1] == column + 1:
                links = [Join(layout.exit_of(link), link.records, link) for link in grid.coming.get(place, [])]
                loops = [
                    Join(layout.arcs[number], loop.records, loop=number)
                    for number, loop in enumerate(grid.loops)
                    if grid.is_station(place) and loop.end == place[0]
                ]
                if links or loops:
                    yield Track(place, layout.stands[place].y, [*links, *loops])

    def _improved(self, tracks: list[Track]) -> list[Track]:
        """The order after swapping neighbours for as long as that helps."""
        cost, better = self._cost(tracks), len(tracks) <= FEW
        while better:
            better = False
            for index in range(len(tracks) - 1):
                swapped = [*tracks[:index], tracks[index + 1], tracks[index], *tracks[index + 2 :]]
                if self._cost(swapped) < cost:
                    tracks, cost, better = swapped, self._cost(swapped), True
        return tracks

    def _cost(self, tracks: list[Track]) -> int:
        """Crossings, and a hundred for each two ways that would lie upon each other."""
        return sum(
            sum(left.reaches(y) for y in right.from_the_left)
            + sum(right.reaches(y) for y in left.to_the_right)
            + 100 * sum(abs(a - b) < self._touch(left, right) for a in right.from_the_left for b in left.to_the_right)
            for index, left in enumerate(tracks)
            for right in tracks[index + 1 :]
        )

    def _touch(self, left: Track, right: Track) -> float:
        return (self.layout.width(left.records) + self.layout.width(right.records)) / 2 + 2

    def _placed(self, tracks: list[Track]) -> float:
        """Sets where the tracks are, from the channel's left, and returns its width."""
        x, before = MARGIN, 0.0
        for track in tracks:
            half = self.layout.width(track.records) / 2
            x += half + before + (TRACK_GAP if before else 0)
            track.x, before = x, half
        return x + before + MARGIN
