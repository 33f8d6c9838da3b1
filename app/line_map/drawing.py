"""Stage 6: the elements of a map in their order. Subclasses decide which figures stand on it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from functools import cache
from importlib.resources import files

from metroline.app.line_map.channels import Track
from metroline.app.line_map.columns import HALF_STATION, MARGIN, Columns
from metroline.app.line_map.coordinates import Coordinates
from metroline.app.line_map.edges import Edges, Stroke
from metroline.app.line_map.graph import Section, Station
from metroline.app.line_map.ordering import LayeredGraph, Vertex
from metroline.app.line_map.shapes import Room
from metroline.app.markup.escaping import escape

RULES_NAMED = 5
"""Rules of a section that its description names."""

Frame = tuple[float, float, float, float]
"""The left end, the top, the width and the height of a map, in pixels."""


class Drawing(ABC):
    """A map: its layout, and its elements from back to front."""

    foot = MARGIN
    """Height below the lowest station, in pixels."""

    def __init__(self, sections: list[Section], room: Room | None = None) -> None:
        """Lay the map out with `room` for what stands on it."""
        self.sections = sections
        self.graph = LayeredGraph(sections)
        self.coordinates = Coordinates(self.graph, room)
        self.columns = Columns(sections, self.coordinates)
        self.edges = Edges(self.coordinates, self.columns)

    def svg(self) -> Iterator[str]:
        """Yield the parts of the SVG."""
        frame = x, y, width, height = self.frame()
        yield self.opening(frame)
        yield (
            f"<style>{_style()}</style>"
            f'<rect class="paper" x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height:.1f}"/>'
        )
        for track, strokes in self.edges.by_track():
            yield from self._strokes(track, strokes)
        for station in self.graph.layer_of:
            layer = self.graph.layer_of[station]
            x, shape = self.columns.middles[layer], self.coordinates.shapes[station, layer]
            yield from self.station(station, x, shape.y, shape.y + shape.top, shape.y + shape.bottom)
        for vertex in self.coordinates.shapes:
            yield from self.numbers(vertex)
        yield "</svg>"

    def span(self) -> tuple[float, float]:
        """Return the height at which the layout begins, and the height that it takes."""
        shapes = self.coordinates.shapes.values()
        top = min([*(shape.above for shape in shapes), *(arc - 10 for arc in self.coordinates.arcs)]) - MARGIN
        return top, max(shape.below for shape in shapes) + self.foot - top

    def path(self, path: str) -> str:
        """Return a path of the layout as it is drawn."""
        return path

    def behind(self, track: Track, strokes: list[Stroke]) -> Iterator[str]:
        """Yield what is drawn behind the lines of a track; nothing by default."""
        yield from ()

    def _strokes(self, track: Track, strokes: list[Stroke]) -> Iterator[str]:
        """Draw all edges to one vertex, over a margin in the colour of the paper where they pass over others."""
        for stroke in strokes:
            width = self.passing(stroke.records)
            yield f'<path class="under" stroke-width="{width}" d="{self.path(stroke.crossing)}"/>'
        yield from self.behind(track, strokes)
        for stroke in strokes:
            kind = f"{kind_of(track.goal[0])}{'' if stroke.records else ' idle'}" if track.goal else ""
            width = self.thickness(stroke.records)
            line = f'<path class="{kind}" stroke-width="{width}" d="{self.path(stroke.path)}"/>'
            yield line if stroke.section is None else self._section(stroke, stroke.section, line)

    def _section(self, stroke: Stroke, section: Section, line: str) -> str:
        arrow = ""
        if section in self.graph.loops:
            left, right, y = self.edges.arc(self.graph.loops.index(section))
            arrow = f'<path class="arrow" d="{self.arrow(section, (left + right) / 2, y)}"/>'
        return self.section(section, stroke, f"{line}{arrow}")

    @abstractmethod
    def frame(self) -> Frame:
        """Return the place and the size of the map."""

    @abstractmethod
    def opening(self, frame: Frame) -> str:
        """Return the beginning of the SVG, with its title."""

    @abstractmethod
    def thickness(self, records: int) -> str:
        """Return the width of a line."""

    @abstractmethod
    def passing(self, records: int) -> str:
        """Return the width of the margin with which a line passes over others."""

    @abstractmethod
    def arrow(self, section: Section, x: float, y: float) -> str:
        """Return the path of the arrow on a loop, at the middle of its arc."""

    @abstractmethod
    def section(self, section: Section, stroke: Stroke, lines: str) -> str:
        """Return the lines of a section with their description."""

    @abstractmethod
    def station(self, station: Station, x: float, y: float, top: float, bottom: float) -> Iterator[str]:
        """Yield a station with its name and its figures."""

    @abstractmethod
    def numbers(self, vertex: Vertex) -> Iterator[str]:
        """Yield the figures of the sections that leave a vertex."""


@cache
def _style() -> str:
    return "\n" + files(__package__).joinpath("map.css").read_text("utf-8")


def rect_of(kind: str, x: float, y: float, width: float, height: float, more: str = "") -> str:
    """Return a station; `more` are further attributes, as markup."""
    return (
        f'<rect class="station {kind}"{more} x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height:.1f}"'
        f' rx="{HALF_STATION:.1f}"/>'
    )


def kind_of(station: Station) -> str:
    """Return the class of a station and of the lines that lead to it."""
    return station.name if station.is_terminal else "stop"


def described(section: Section, amount: str = "") -> str:
    """Return a section in words: from where to where, how much goes along it, and by which rules."""
    named = ", ".join(rule.name for rule in section.rules[:RULES_NAMED])
    more = f" and {len(section.rules) - RULES_NAMED} more" if len(section.rules) > RULES_NAMED else ""
    by = f" ({named}{more})" if named else ""
    return f"{section.start.name} to {section.end.name}{amount}{by}"


def escaped_title(text: str) -> str:
    """Return a title element, which browsers show beside the pointer and read out."""
    return f"<title>{escape(text)}</title>"
