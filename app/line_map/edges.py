"""The lines of a map: the way of each section to the track that it shares with others, and the shared ones on."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from metroline.app.line_map.channels import RADIUS, Channel, Join, Track
from metroline.app.line_map.coordinates import Layout
from metroline.app.line_map.graph import Section

LEVEL = 0.5
"""Heights that differ by less are one."""


@dataclass(frozen=True, slots=True)
class Stroke:
    """A line to draw: where it begins, the rest of its path in SVG's terms, and the records on it."""

    x: float
    y: float
    rest: str
    records: int
    section: Section | None = None
    """The section that begins with it."""
    free_from: float = 0.0
    """Before this it crosses nothing."""

    @property
    def path(self) -> str:
        return f"M{self.x:.1f} {self.y:.1f}{self.rest}"

    @property
    def crossing(self) -> str:
        """The part of it that may cross others."""
        return f"M{max(self.x, self.free_from):.1f} {self.y:.1f}{self.rest}"


class Ways:
    """All lines of a map: `xs` are the middles of its columns, `edges` where the channels after them begin."""

    def __init__(
        self, layout: Layout, channels: Sequence[Channel], xs: Sequence[float], edges: Sequence[float]
    ) -> None:
        self.layout = layout
        self.channels = channels
        self.xs = xs
        self.edges = edges

    def by_track(self) -> Iterator[tuple[Track, list[Stroke]]]:
        """What leads to one place each, those with few records first: who crosses whom passes over it."""
        found = [(track, column) for column, each in enumerate(self.channels) for track in each.tracks if track.goal]
        for track, column in sorted(found, key=lambda each: each[0].records):
            yield track, list(self._strokes(track, column))

    def arc(self, loop: int) -> tuple[float, float, float]:
        """Left end, right end and height of a loop's arc."""
        section, layers = self.layout.grid.loops[loop], self.layout.grid.layers
        right = self._track_of(loop, layers[section.start], climbs=True)
        left = self._track_of(loop, layers[section.end] - 1, climbs=False)
        return left, right, self.layout.arcs[loop]

    def _track_of(self, loop: int, column: int, *, climbs: bool) -> float:
        """Where the track is by which a loop climbs to its arc or comes down from it."""
        found = [track for track in self.channels[column].tracks if any(join.loop == loop for join in track.joins)]
        return next(self.edges[column] + track.x for track in found if (track.goal is None) == climbs)

    def _strokes(self, track: Track, column: int) -> Iterator[Stroke]:
        end = self.xs[column + 1]
        x = end - RADIUS if track.is_straight else self.edges[column] + track.x
        for join in track.joins:
            if abs(join.y - track.y) < LEVEL:
                yield self._begun(join, column, track.y, f"H{x + RADIUS:.1f}")
        yield from self._bent(track, x, column, 1)
        yield from self._bent(track, x, column, -1)
        if not track.is_straight:
            yield Stroke(x + RADIUS, track.y, f"H{end:.1f}", track.records)

    def _bent(self, track: Track, x: float, column: int, down: int) -> Iterator[Stroke]:
        """What comes from above (`down` is 1) or from below (-1), the farthest first, and joins on the way."""
        joins = [join for join in track.joins if (track.y - join.y) * down >= LEVEL]
        joins.sort(key=lambda join: join.y * down)
        bends = [min(RADIUS, abs(track.y - join.y) / 2) for join in joins]
        records = 0
        for index, (join, bend) in enumerate(zip(joins, bends, strict=True)):
            joined = join.y + down * bend
            yield self._to_the_track(join, x, bend, down, column)
            records += join.records
            if index + 1 < len(joins):
                yield Stroke(x, joined, f"V{joins[index + 1].y + down * bends[index + 1]:.1f}", records)
            else:
                turn = f"Q{x:.1f} {track.y:.1f} {x + bend:.1f} {track.y:.1f}H{x + RADIUS:.1f}"
                yield Stroke(x, joined, f"V{track.y - down * bend:.1f}{turn}", records)

    def _to_the_track(self, join: Join, x: float, bend: float, down: int, column: int) -> Stroke:
        """From where a section leaves to the track that it joins."""
        turn = f"Q{x:.1f} {join.y:.1f} {x:.1f} {join.y + down * bend:.1f}"
        if not join.is_loop:
            return self._begun(join, column, join.y, f"H{x - bend:.1f}{turn}")
        start = self.layout.grid.layers[self.layout.grid.loops[join.loop].start]
        climb = self._track_of(join.loop, start, climbs=True)
        y = self.layout.loop_exit(join.loop)
        up = f"H{climb - RADIUS:.1f}Q{climb:.1f} {y:.1f} {climb:.1f} {y - RADIUS:.1f}V{join.y + RADIUS:.1f}"
        back = f"Q{climb:.1f} {join.y:.1f} {climb - RADIUS:.1f} {join.y:.1f}H{x + bend:.1f}"
        return self._begun(join, start, y, f"{up}{back}{turn}")

    def _begun(self, join: Join, column: int, y: float, rest: str) -> Stroke:
        section = self.layout.grid.loops[join.loop] if join.is_loop else join.link.section if join.link else None
        return Stroke(self.xs[column], y, rest, join.records, section, self.edges[column])
