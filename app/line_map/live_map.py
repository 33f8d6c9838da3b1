"""Draws a line as the metro map on which live figures stand: the same table gives the same picture, byte for byte."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from functools import cache
from importlib.resources import files

from metroline.app.line_map.channels import Track
from metroline.app.line_map.columns import HALF_STATION, MARGIN, NAME_MOST, Columns
from metroline.app.line_map.coordinates import Coordinates
from metroline.app.line_map.edges import Edges, Stroke
from metroline.app.line_map.graph import TERMINALS, Section, Station, sections_of
from metroline.app.line_map.ordering import LayeredGraph, Vertex
from metroline.app.line_map.shapes import Room
from metroline.app.markup.escaping import escape
from metroline.app.markup.text import shorten
from metroline.routing.rules.network import Network

WIDE = Room(name_height=40.0, foot=26.0, half_name=70.0, number_letters=9)
"""Room for a name and a line of figures above a station, for two more below it, and for a rate on each section."""

TURNED = Room(name_height=158.0, foot=46.0, half_name=46.0, number_height=52.0, terminal_gap=76.0, is_beside=True)
"""Room in a map that reads from top to bottom: its heights are widths, and figures stand beside their stations."""

TURNED_NAME_MOST = 20
"""Terminal columns of a station's name up to which it is drawn in full beside its station."""

WIDTH, PASSING = 4.0, 9.0
"""Width of a line, and of the margin with which it passes over others, in pixels."""

LINE_HEIGHT = 14.0
LEFT_OF_RATES = 6.0

RULES_NAMED = 5
"""Rules of a section that its description names."""

COMMAND = re.compile(r"([MHVQ])([^MHVQ]*)")

StationFigures = Callable[[Station, str], str]
"""Returns the figures of a station in a line (`waiting`, `times`, `dead` or `ended`) as `tspan` elements."""

SectionFigures = Callable[[Section], str]
"""Returns the figures of a section as `tspan` elements."""


class LiveMap:
    """The map of a network, in two forms: one that reads from left to right, and one that reads from top to bottom.

    Everything but the content of the figures follows from the rules table alone.
    """

    def __init__(
        self, network: Network, stations: StationFigures, sections: SectionFigures, link: Callable[[str], str]
    ) -> None:
        """`link` returns the address to which a stop leads."""
        self._sections = sections_of(network, {})
        for section in self._sections:
            section.records = 1  # all alike: the layout makes room by them, and no figure may move a station
        self._figures = stations, sections
        self._link = link

    def wide(self) -> str:
        """Return the map that reads from left to right, as an SVG."""
        return "".join(_Wide(self._sections, WIDE, *self._figures, self._link).svg())

    def turned(self) -> str:
        """Return the map that reads from top to bottom, as an SVG: for small screens, and for long lines on any."""
        return "".join(_Turned(self._sections, TURNED, *self._figures, self._link).svg())


@cache
def _style() -> str:
    return "\n" + files(__package__).joinpath("map.css").read_text("utf-8")


class _Wide:
    reads = "from left to right"

    def __init__(
        self,
        sections: list[Section],
        room: Room,
        stations: StationFigures,
        of_section: SectionFigures,
        link: Callable[[str], str],
    ) -> None:
        self.sections = sections
        self.graph = LayeredGraph(sections)
        self.coordinates = Coordinates(self.graph, room)
        self.columns = Columns(sections, self.coordinates)
        self.edges = Edges(self.coordinates, self.columns)
        self._stations = stations
        self._of_section = of_section
        self._link = link

    def svg(self) -> Iterator[str]:
        """Yield the parts of the SVG."""
        x, y, width, height = self._frame()
        yield (
            f'<svg class="linemap live" xmlns="http://www.w3.org/2000/svg" role="group"'
            f' viewBox="{x:.1f} {y:.1f} {width:.1f} {height:.1f}" style="--natural:{width:.0f}px">'
            f"<title>Map of the line with its traffic, {self.reads}</title><style>{_style()}</style>"
            f'<rect class="paper" x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height:.1f}"/>'
        )
        for track, strokes in self.edges.by_track():
            yield from self._strokes(track, strokes)
        for station in self.graph.layer_of:
            yield from self._station(station)
        for vertex in self.coordinates.shapes:
            yield from self._rates(vertex)
        yield "</svg>"

    def _span(self) -> tuple[float, float]:
        """Return the height at which the layout begins, and the height that it takes."""
        shapes = self.coordinates.shapes.values()
        top = min([*(shape.above for shape in shapes), *(arc - 10 for arc in self.coordinates.arcs)]) - MARGIN
        return top, max(shape.below for shape in shapes) + 2 * MARGIN - top

    def _frame(self) -> tuple[float, float, float, float]:
        top, height = self._span()
        ends = {each: "0,000,000/s" for each in TERMINALS if each in self.graph.layer_of}
        return 0.0, top, self.columns.right_end(ends or {TERMINALS[0]: ""}) + MARGIN, height

    def _strokes(self, track: Track, strokes: list[Stroke]) -> Iterator[str]:
        for stroke in strokes:
            yield f'<path class="under" stroke-width="{PASSING:g}" d="{self._path(stroke.crossing)}"/>'
        kind = _kind(track.goal[0]) if track.goal else ""
        for stroke in strokes:
            path = f'<path class="{kind}" stroke-width="{WIDTH:g}" d="{self._path(stroke.path)}"/>'
            yield path if stroke.section is None else self._section(stroke.section, path)

    def _section(self, section: Section, path: str) -> str:
        arrow = ""
        if section in self.graph.loops:
            left, right, y = self.edges.arc(self.graph.loops.index(section))
            arrow = f'<path class="arrow" d="{self._arrow((left + right) / 2, y)}"/>'
        return f'<g class="section"><title>{escape(_described(section))}</title>{path}{arrow}</g>'

    def _station(self, station: Station) -> Iterator[str]:
        layer = self.graph.layer_of[station]
        x, shape = self.columns.middles[layer], self.coordinates.shapes[station, layer]
        drawn = self._rect(_kind(station), x, shape.y + shape.top, shape.bottom - shape.top)
        if station.is_terminal:
            yield drawn
            yield from self._terminal(station, x, shape.y)
            return
        lines = list(self._lines(station, x, shape.y + shape.top, shape.y + shape.bottom))
        yield (
            f'<a href="{escape(self._link(station.name))}"><title>{escape(station.name)}</title>{drawn}{lines[0]}</a>'
        )
        yield from lines[1:]

    # What differs in a map that is turned

    def _path(self, path: str) -> str:
        return path

    def _arrow(self, x: float, y: float) -> str:
        half = WIDTH + 2
        return f"M{x - half:.1f} {y:.1f}l{2 * half:.1f} {-half:.1f}v{2 * half:.1f}z"

    def _rect(self, kind: str, x: float, top: float, height: float) -> str:
        return _rect(kind, x - HALF_STATION, top, 2 * HALF_STATION, height)

    def _terminal(self, station: Station, x: float, y: float) -> Iterator[str]:
        x += HALF_STATION + 8
        yield _text(x, y - 2, escape(station.name), kind="")
        yield _text(x, y + 13, self._stations(station, "ended"))

    def _lines(self, station: Station, x: float, top: float, bottom: float) -> Iterator[str]:
        """Yield the name of a stop and its figures."""
        name = escape(shorten(station.name, NAME_MOST))
        yield _text(x, top - 24, name, "middle", kind="")
        yield _text(x, top - 9, self._stations(station, "waiting"), "middle")
        yield _text(x, bottom + 14, self._stations(station, "times"), "middle")
        yield _text(x, bottom + 14 + LINE_HEIGHT, self._stations(station, "dead"), "middle")

    def _rates(self, vertex: Vertex) -> Iterator[str]:
        """Write the rate of each section where the section leaves its station."""
        x = self.columns.middles[vertex[1]] + HALF_STATION + 7
        for section, height in self.coordinates.sections_from(vertex):
            yield _text(x, height - WIDTH - 2, self._of_section(section))


class _Turned(_Wide):
    """The layout's heights are widths here: what is above in it is at the left."""

    reads = "from top to bottom"

    def _frame(self) -> tuple[float, float, float, float]:
        left, width = self._span()
        height = self.columns.right_end({TERMINALS[0]: ""}) + MARGIN
        return left, 0.0, width, height

    def _path(self, path: str) -> str:
        return "".join(_turned(*found.groups()) for found in COMMAND.finditer(path))

    def _arrow(self, x: float, y: float) -> str:
        half = WIDTH + 2
        return f"M{y:.1f} {x - half:.1f}l{-half:.1f} {2 * half:.1f}h{2 * half:.1f}z"

    def _rect(self, kind: str, x: float, top: float, height: float) -> str:
        return _rect(kind, top, x - HALF_STATION, height, 2 * HALF_STATION)

    def _terminal(self, station: Station, x: float, y: float) -> Iterator[str]:
        x += HALF_STATION + 16
        yield _text(y, x, escape(station.name), "middle", kind="")
        yield _text(y, x + LINE_HEIGHT, self._stations(station, "ended"), "middle")

    def _lines(self, station: Station, x: float, top: float, bottom: float) -> Iterator[str]:
        left, y = top - 8, x - LINE_HEIGHT - 3
        yield _text(left, y, escape(shorten(station.name, TURNED_NAME_MOST)), "end", kind="")
        for number, line in enumerate(("waiting", "times", "dead"), 1):
            yield _text(left, y + number * LINE_HEIGHT, self._stations(station, line), "end")

    def _rates(self, vertex: Vertex) -> Iterator[str]:
        y = self.columns.middles[vertex[1]] + HALF_STATION + 28
        for section, height in self.coordinates.sections_from(vertex):
            yield _text(height + LEFT_OF_RATES, y, self._of_section(section))


def _turned(command: str, rest: str) -> str:
    """Return a command of a path with its two coordinates exchanged."""
    if command in "HV":
        return f"{'V' if command == 'H' else 'H'}{rest}"
    numbers = rest.split()
    swapped = [number for at in range(0, len(numbers), 2) for number in (numbers[at + 1], numbers[at])]
    return f"{command}{' '.join(swapped)}"


def _rect(kind: str, x: float, y: float, width: float, height: float) -> str:
    return (
        f'<rect class="station {kind}" x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height:.1f}"'
        f' rx="{HALF_STATION:.1f}"/>'
    )


def _text(x: float, y: float, content: str, anchor: str = "start", kind: str = "number") -> str:
    """Return a text element; `content` is markup."""
    return f'<text class="{kind}" x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{content}</text>'


def _kind(station: Station) -> str:
    return station.name if station.is_terminal else "stop"


def _described(section: Section) -> str:
    """Return a section in words: from where to where, and by which rules."""
    named = ", ".join(rule.name for rule in section.rules[:RULES_NAMED])
    more = f" and {len(section.rules) - RULES_NAMED} more" if len(section.rules) > RULES_NAMED else ""
    return f"{section.start.name} to {section.end.name}" + (f" ({named}{more})" if named else "")
