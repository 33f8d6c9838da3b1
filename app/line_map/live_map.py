"""Draws a line as the metro map on which live figures stand: the same table gives the same picture, byte for byte."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from metroline.app.line_map.channels import Track
from metroline.app.line_map.columns import HALF_STATION, MARGIN, NAME_MOST
from metroline.app.line_map.drawing import Drawing, Frame, described, escaped_title, kind_of, rect_of
from metroline.app.line_map.edges import Stroke
from metroline.app.line_map.graph import TERMINALS, Section, Station, sections_of
from metroline.app.line_map.ordering import Vertex
from metroline.app.line_map.shapes import Room
from metroline.app.markup.escaping import escape
from metroline.app.markup.text import shorten
from metroline.routing.rules.network import Network

WIDE = Room(name_height=40.0, foot=54.0, half_name=70.0, number_letters=9)
"""Room for a name and a line of figures above a station, for four more below it, and for a rate on each section."""

TURNED = Room(name_height=158.0, foot=46.0, half_name=46.0, number_height=52.0, terminal_gap=76.0, is_beside=True)
"""Room in a map that reads from top to bottom: its heights are widths, and figures stand beside their stations."""

TURNED_NAME_MOST = 20
"""Terminal columns of a station's name up to which it is drawn in full beside its station."""

WIDTH, PASSING = 4.0, 9.0
"""Width of a line, and of the margin with which it passes over others, in pixels."""

TRAIN, HIT = 14.0, 16.0
"""Width of a train, which stands around a line, and of the stretch around a line on which a pointer finds it."""

LINES = ("waiting", "times", "losses", "retries", "stale")
"""The lines of figures at a stop, from top to bottom."""

LINE_HEIGHT = 14.0
LEFT_OF_RATES = 6.0

COMMAND = re.compile(r"([MHVQ])([^MHVQ]*)")


@dataclass(frozen=True, slots=True)
class Figures:
    """Functions that return the figures on a map, and where its elements lead, all as markup."""

    of_station: Callable[[Station, str], str]
    """Returns the figures of a station in a line (one of `LINES`, or `ended` at a terminal) as `tspan` elements."""
    of_section: Callable[[Section], str]
    """Returns the figures of a section as `tspan` elements."""
    of_train: Callable[[Station], str]
    """Returns attributes that show the train to a stop, or hide it. It is shown if records come in memory."""
    stop_link: Callable[[str], str]
    """Returns the address to which a stop leads."""
    section_link: Callable[[Section], str]
    """Returns the address to which a section leads."""


class LiveMap:
    """The map of a network, in two forms: one that reads from left to right, and one that reads from top to bottom.

    Everything but the content of the figures follows from the rules table alone. Trains move no station: each stands
    around the lines to its stop, and figures show or hide it.
    """

    def __init__(self, network: Network, figures: Figures) -> None:
        self._sections = sections_of(network, {})
        for section in self._sections:
            section.records = 1  # all alike: the layout makes room by them, and no figure may move a station
        self._figures = figures

    def wide(self) -> str:
        """Return the map that reads from left to right, as an SVG."""
        return "".join(_Wide(self._sections, WIDE, self._figures).svg())

    def turned(self) -> str:
        """Return the map that reads from top to bottom, as an SVG: for small screens, and for long lines on any."""
        return "".join(_Turned(self._sections, TURNED, self._figures).svg())


class _Wide(Drawing):
    reads = "from left to right"
    foot = 2 * MARGIN

    def __init__(self, sections: list[Section], room: Room, figures: Figures) -> None:
        super().__init__(sections, room)
        self._figures = figures

    def opening(self, frame: Frame) -> str:
        x, y, width, height = frame
        return (
            f'<svg class="linemap live" xmlns="http://www.w3.org/2000/svg" role="group"'
            f' viewBox="{x:.1f} {y:.1f} {width:.1f} {height:.1f}" style="--natural:{width:.0f}px">'
            f"{escaped_title(f'Map of the line with its traffic, {self.reads}')}"
        )

    def thickness(self, records: int) -> str:
        return f"{WIDTH:g}"

    def passing(self, records: int) -> str:
        return f"{PASSING:g}"

    def behind(self, track: Track, strokes: list[Stroke]) -> Iterator[str]:
        """Yield the train to the stop to which a track leads."""
        if track.goal is not None and not track.goal[0].is_terminal:
            paths = [f'<path stroke-width="{TRAIN:g}" d="{self.path(stroke.path)}"/>' for stroke in strokes]
            yield f'<g class="train" {self._figures.of_train(track.goal[0])}>{"".join(paths)}</g>'

    def section(self, section: Section, stroke: Stroke, lines: str) -> str:
        """Return the lines of a section as a link. The panels have the same links for who uses the keyboard."""
        return (
            f'<a class="section" href="{escape(self._figures.section_link(section))}" tabindex="-1">'
            f'{escaped_title(described(section))}{lines}<path class="hit" stroke-width="{HIT:g}"'
            f' d="{self.path(stroke.path)}"/></a>'
        )

    def station(self, station: Station, x: float, y: float, top: float, bottom: float) -> Iterator[str]:
        drawn = self._rect(kind_of(station), x, top, bottom - top)
        if station.is_terminal:
            yield drawn
            yield from self._terminal(station, x, y)
            return
        lines = list(self._lines(station, x, top, bottom))
        link = escape(self._figures.stop_link(station.name))
        yield f'<a href="{link}">{escaped_title(station.name)}{drawn}{lines[0]}</a>'
        yield from lines[1:]

    # What differs in a map that is turned

    def frame(self) -> Frame:
        top, height = self.span()
        ends = {each: "0,000,000/s" for each in TERMINALS if each in self.graph.layer_of}
        return 0.0, top, self.columns.right_end(ends or {TERMINALS[0]: ""}) + MARGIN, height

    def arrow(self, section: Section, x: float, y: float) -> str:
        half = WIDTH + 2
        return f"M{x - half:.1f} {y:.1f}l{2 * half:.1f} {-half:.1f}v{2 * half:.1f}z"

    def _rect(self, kind: str, x: float, top: float, height: float) -> str:
        return rect_of(kind, x - HALF_STATION, top, 2 * HALF_STATION, height)

    def _terminal(self, station: Station, x: float, y: float) -> Iterator[str]:
        x += HALF_STATION + 8
        yield _text(x, y - 2, escape(station.name), kind="")
        yield _text(x, y + 13, self._figures.of_station(station, "ended"))

    def _lines(self, station: Station, x: float, top: float, bottom: float) -> Iterator[str]:
        """Yield the name of a stop and its figures."""
        name = escape(shorten(station.name, NAME_MOST))
        first, *others = LINES
        yield _text(x, top - 24, name, "middle", kind="")
        yield _text(x, top - 9, self._figures.of_station(station, first), "middle")
        for number, line in enumerate(others, 1):
            yield _text(x, bottom + number * LINE_HEIGHT, self._figures.of_station(station, line), "middle")

    def numbers(self, vertex: Vertex) -> Iterator[str]:
        """Write the rate of each section where the section leaves its station."""
        x = self.columns.middles[vertex[1]] + HALF_STATION + 7
        for section, height in self.coordinates.sections_from(vertex):
            yield _text(x, height - WIDTH - 2, self._figures.of_section(section))


class _Turned(_Wide):
    """The layout's heights are widths here: what is above in it is at the left."""

    reads = "from top to bottom"

    def frame(self) -> Frame:
        left, width = self.span()
        height = self.columns.right_end({TERMINALS[0]: ""}) + MARGIN
        return left, 0.0, width, height

    def path(self, path: str) -> str:
        return "".join(_turned(*found.groups()) for found in COMMAND.finditer(path))

    def arrow(self, section: Section, x: float, y: float) -> str:
        half = WIDTH + 2
        return f"M{y:.1f} {x - half:.1f}l{-half:.1f} {2 * half:.1f}h{2 * half:.1f}z"

    def _rect(self, kind: str, x: float, top: float, height: float) -> str:
        return rect_of(kind, top, x - HALF_STATION, height, 2 * HALF_STATION)

    def _terminal(self, station: Station, x: float, y: float) -> Iterator[str]:
        x += HALF_STATION + 16
        yield _text(y, x, escape(station.name), "middle", kind="")
        yield _text(y, x + LINE_HEIGHT, self._figures.of_station(station, "ended"), "middle")

    def _lines(self, station: Station, x: float, top: float, bottom: float) -> Iterator[str]:
        left, y = top - 8, x - LINE_HEIGHT - 3
        yield _text(left, y, escape(shorten(station.name, TURNED_NAME_MOST)), "end", kind="")
        for number, line in enumerate(LINES, 1):
            yield _text(left, y + number * LINE_HEIGHT, self._figures.of_station(station, line), "end")

    def numbers(self, vertex: Vertex) -> Iterator[str]:
        y = self.columns.middles[vertex[1]] + HALF_STATION + 28
        for section, height in self.coordinates.sections_from(vertex):
            yield _text(height + LEFT_OF_RATES, y, self._figures.of_section(section))


def _turned(command: str, rest: str) -> str:
    """Return a command of a path with its two coordinates exchanged."""
    if command in "HV":
        return f"{'V' if command == 'H' else 'H'}{rest}"
    numbers = rest.split()
    swapped = [number for at in range(0, len(numbers), 2) for number in (numbers[at + 1], numbers[at])]
    return f"{command}{' '.join(swapped)}"


def _text(x: float, y: float, content: str, anchor: str = "start", kind: str = "number") -> str:
    """Return a text element; `content` is markup."""
    return f'<text class="{kind}" x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{content}</text>'
