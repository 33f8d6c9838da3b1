"""Stage 5a, orthogonal routing: the upright tracks on which edges change their height between two layers."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from metroline.app.line_map.coordinates import Coordinates
from metroline.app.line_map.ordering import Link, Vertex

RADIUS = 11.0
MARGIN = RADIUS + 3
"""Free width on either side of the tracks, in pixels: the radius of a bend and a little more."""
TRACK_GAP = 8.0
REORDERED_MOST = 12
"""Tracks in a channel up to which other orders of them are tried."""
OVERLAP_COST = 100
"""Crossings that are accepted to avoid two edges on top of each other."""


@dataclass(frozen=True, slots=True)
class Join:
    """An edge that comes to a track: a link from the left, or a loop from its arc above."""

    y: float
    records: int
    link: Link | None = None
    loop: int = -1

    @property
    def is_loop(self) -> bool:
        return self.loop >= 0


@dataclass(eq=False, slots=True)
class Track:
    """The upright part of all edges to one vertex. Without a goal it is the way of a loop up to its arc."""

    goal: Vertex | None
    y: float
    joins: list[Join]
    x: float = 0.0

    @property
    def records(self) -> int:
        return sum(join.records for join in self.joins)

    @property
    def left_heights(self) -> list[float]:
        """The heights of the edges at its left: sections that join it, or the arc that it climbs to."""
        starts = [join.y for join in self.joins if not (join.is_loop and self.goal)]
        return starts if self.goal else [*starts, self.y]

    @property
    def right_heights(self) -> list[float]:
        """The heights of the edges at its right: the one to its goal, and arcs that come down here."""
        arcs = [join.y for join in self.joins if join.is_loop and self.goal]
        return [*arcs, self.y] if self.goal else arcs

    def crosses(self, y: float) -> bool:
        ends = [self.y, *(join.y for join in self.joins)]
        return min(ends) < y < max(ends)

    @property
    def is_straight(self) -> bool:
        """Return whether all its edges are level already, so that it takes no width."""
        return all(not join.is_loop and abs(join.y - self.y) < 0.5 for join in self.joins)


class Channel:
    """The space between a layer and the next, with its tracks in an order of few crossings and no overlaps."""

    def __init__(self, coordinates: Coordinates, layer: int) -> None:
        self.coordinates = coordinates
        self.tracks = [*self._climbs(layer), *self._arrivals(layer)]
        bent = [track for track in self.tracks if not track.is_straight]
        bent.sort(key=lambda track: (track.goal is not None, -track.y))
        self.width = self._place(self._reorder(bent))

    def _climbs(self, layer: int) -> Iterator[Track]:
        """Yield the ways up to the arcs of the loops that begin in this layer."""
        graph = self.coordinates.graph
        for number, loop in enumerate(graph.loops):
            if graph.layer_of[loop.start] == layer:
                leaves = Join(self.coordinates.loop_exit(number), loop.records, loop=number)
                yield Track(None, self.coordinates.arcs[number], [leaves])

    def _arrivals(self, layer: int) -> Iterator[Track]:
        """Yield the ways to each vertex of the next layer, from links and from arcs."""
        coordinates, graph = self.coordinates, self.coordinates.graph
        for vertex in graph.vertices:
            if vertex[1] == layer + 1:
                links = [Join(coordinates.exit_of(link), link.records, link) for link in graph.incoming.get(vertex, [])]
                loops = [
                    Join(coordinates.arcs[number], loop.records, loop=number)
                    for number, loop in enumerate(graph.loops)
                    if graph.is_station(vertex) and loop.end == vertex[0]
                ]
                if links or loops:
                    yield Track(vertex, coordinates.shapes[vertex].y, [*links, *loops])

    def _reorder(self, tracks: list[Track]) -> list[Track]:
        """Return the tracks after swapping neighbours for as long as that lowers the cost."""
        if len(tracks) > REORDERED_MOST:
            return tracks
        cost, better = self._cost(tracks), True
        while better:
            better = False
            for index in range(len(tracks) - 1):
                swapped = [*tracks[:index], tracks[index + 1], tracks[index], *tracks[index + 2 :]]
                if self._cost(swapped) < cost:
                    tracks, cost, better = swapped, self._cost(swapped), True
        return tracks

    def _cost(self, tracks: list[Track]) -> int:
        return sum(
            sum(left.crosses(y) for y in right.left_heights)
            + sum(right.crosses(y) for y in left.right_heights)
            + OVERLAP_COST * self._overlaps(left, right)
            for index, left in enumerate(tracks)
            for right in tracks[index + 1 :]
        )

    def _overlaps(self, left: Track, right: Track) -> int:
        thickness = self.coordinates.sizes.thickness
        touching = (thickness(left.records) + thickness(right.records)) / 2 + 2
        return sum(abs(a - b) < touching for a in right.left_heights for b in left.right_heights)

    def _place(self, tracks: list[Track]) -> float:
        """Set the `x` of each track, from the left end of the channel, and return the channel's width."""
        x, before = MARGIN, 0.0
        for track in tracks:
            half = self.coordinates.sizes.thickness(track.records) / 2
            x += half + before + (TRACK_GAP if before else 0)
            track.x, before = x, half
        return x + before + MARGIN
