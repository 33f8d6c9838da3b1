"""Stage 5c: the paths of the edges, each from its station along the track that it shares with others."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from metroline.app.line_map.channels import RADIUS, Join, Track
from metroline.app.line_map.columns import Columns
from metroline.app.line_map.coordinates import Coordinates
from metroline.app.line_map.graph import Section

SAME_HEIGHT = 0.5
"""Heights that differ by less count as equal, in pixels."""


@dataclass(frozen=True, slots=True)
class Stroke:
    """A path to draw: where it begins, the rest of it in SVG's path commands, and the number of records on it."""

    x: float
    y: float
    rest: str
    records: int
    section: Section | None = None
    """The section that begins with it."""
    free_until: float = 0.0
    """Left of this it crosses nothing."""

    @property
    def path(self) -> str:
        return f"M{self.x:.1f} {self.y:.1f}{self.rest}"

    @property
    def crossing(self) -> str:
        """The part of the path that may cross others."""
        return f"M{max(self.x, self.free_until):.1f} {self.y:.1f}{self.rest}"


class Edges:
    """The paths of all edges of a map."""

    def __init__(self, coordinates: Coordinates, columns: Columns) -> None:
        self._coordinates = coordinates
        self._graph = coordinates.graph
        self._columns = columns

    def by_track(self) -> Iterator[tuple[Track, list[Stroke]]]:
        """Yield the strokes to each vertex, those with few records first: a later one passes over an earlier one."""
        channels = enumerate(self._columns.channels)
        found = [(track, layer) for layer, channel in channels for track in channel.tracks if track.goal]
        for track, layer in sorted(found, key=lambda each: each[0].records):
            yield track, list(self._strokes(track, layer))

    def arc(self, loop: int) -> tuple[float, float, float]:
        """Return the left end, the right end and the height of a loop's arc."""
        section, layer_of = self._graph.loops[loop], self._graph.layer_of
        right = self._track_x(loop, layer_of[section.start], climbs=True)
        left = self._track_x(loop, layer_of[section.end] - 1, climbs=False)
        return left, right, self._coordinates.arcs[loop]

    def _track_x(self, loop: int, layer: int, *, climbs: bool) -> float:
        """Return where the track is on which a loop climbs to its arc or comes down from it."""
        channel = self._columns.channels[layer]
        found = [track for track in channel.tracks if any(join.loop == loop for join in track.joins)]
        return next(self._columns.edges[layer] + track.x for track in found if (track.goal is None) == climbs)

    def _strokes(self, track: Track, layer: int) -> Iterator[Stroke]:
        end = self._columns.middles[layer + 1]
        x = end - RADIUS if track.is_straight else self._columns.edges[layer] + track.x
        for join in track.joins:
            if abs(join.y - track.y) < SAME_HEIGHT:
                yield self._begin(join, layer, track.y, f"H{x + RADIUS:.1f}")
        yield from self._bends(track, x, layer, 1)
        yield from self._bends(track, x, layer, -1)
        if not track.is_straight:
            yield Stroke(x + RADIUS, track.y, f"H{end:.1f}", track.records)

    def _bends(self, track: Track, x: float, layer: int, down: int) -> Iterator[Stroke]:
        """Yield the edges from above (`down` is 1) or below (-1), the farthest first, which the others then join."""
        joins = [join for join in track.joins if (track.y - join.y) * down >= SAME_HEIGHT]
        joins.sort(key=lambda join: join.y * down)
        bends = [min(RADIUS, abs(track.y - join.y) / 2) for join in joins]
        records = 0
        for index, (join, bend) in enumerate(zip(joins, bends, strict=True)):
            joined = join.y + down * bend
            yield self._to_track(join, x, bend, down, layer)
            records += join.records
            if index + 1 < len(joins):
                yield Stroke(x, joined, f"V{joins[index + 1].y + down * bends[index + 1]:.1f}", records)
            else:
                turn = f"Q{x:.1f} {track.y:.1f} {x + bend:.1f} {track.y:.1f}H{x + RADIUS:.1f}"
                yield Stroke(x, joined, f"V{track.y - down * bend:.1f}{turn}", records)

    def _to_track(self, join: Join, x: float, bend: float, down: int, layer: int) -> Stroke:
        """Return the stroke from where a section leaves its station to the track that it joins."""
        turn = f"Q{x:.1f} {join.y:.1f} {x:.1f} {join.y + down * bend:.1f}"
        if not join.is_loop:
            return self._begin(join, layer, join.y, f"H{x - bend:.1f}{turn}")
        start = self._graph.layer_of[self._graph.loops[join.loop].start]
        climb = self._track_x(join.loop, start, climbs=True)
        y = self._coordinates.loop_exit(join.loop)
        up = f"H{climb - RADIUS:.1f}Q{climb:.1f} {y:.1f} {climb:.1f} {y - RADIUS:.1f}V{join.y + RADIUS:.1f}"
        back = f"Q{climb:.1f} {join.y:.1f} {climb - RADIUS:.1f} {join.y:.1f}H{x + bend:.1f}"
        return self._begin(join, start, y, f"{up}{back}{turn}")

    def _begin(self, join: Join, layer: int, y: float, rest: str) -> Stroke:
        section = self._graph.loops[join.loop] if join.is_loop else join.link.section if join.link else None
        return Stroke(self._columns.middles[layer], y, rest, join.records, section, self._columns.edges[layer])
