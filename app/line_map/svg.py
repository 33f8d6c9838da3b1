"""Draws a line as metro maps are drawn, as an SVG with the traffic on it."""

from __future__ import annotations

from collections.abc import Iterator

from metroline.app.line_map.columns import HALF_STATION, MARGIN, NAME_MOST
from metroline.app.line_map.drawing import Drawing, Frame, described, escaped_title, kind_of, rect_of
from metroline.app.line_map.edges import Stroke
from metroline.app.line_map.graph import START, TERMINALS, Section, Station, Traffic, sections_of
from metroline.app.line_map.ordering import Vertex
from metroline.app.markup.escaping import escape
from metroline.app.markup.numbers import count, counted, percent
from metroline.app.markup.text import shorten
from metroline.routing.rules.network import Network


def draw(network: Network, traffic: Traffic) -> str:
    """Return the map as an SVG that scales to its container."""
    return "".join(_TrafficMap(sections_of(network, traffic)).svg())


class _TrafficMap(Drawing):
    """A map whose lines are as thick as the number of records on them."""

    def __init__(self, sections: list[Section]) -> None:
        super().__init__(sections)
        self.sent = sum(each.records for each in sections if each.start == START)

    def frame(self) -> Frame:
        top, height = self.span()
        width = self.columns.right_end({each: self._share(each) for each in TERMINALS}) + MARGIN
        return 0.0, top, width, height

    def opening(self, frame: Frame) -> str:
        x, y, width, height = frame
        return (
            f'<svg class="linemap" xmlns="http://www.w3.org/2000/svg" role="img"'
            f' viewBox="{x:.1f} {y:.1f} {width:.1f} {height:.1f}"'
            f' style="--natural:{width:.0f}px;width:100%;max-width:{1.25 * width:.0f}px">'
            f"{escaped_title('Map of the line with its traffic')}<desc>{escape(self._description())}</desc>"
        )

    def _description(self) -> str:
        used = [_described(each) for each in self.sections if each.records]
        return ". ".join(["The map reads from left to right; a line is thicker where more records went", *used]) + "."

    def _share(self, terminal: Station) -> str:
        ended = sum(each.records for each in self.sections if each.end == terminal)
        return f"{count(ended)} · {percent(ended, self.sent)}"

    def thickness(self, records: int) -> str:
        return f"{self.coordinates.sizes.thickness(records):.1f}"

    def passing(self, records: int) -> str:
        return f"{self.coordinates.sizes.thickness(records) + 5:.1f}"

    def arrow(self, section: Section, x: float, y: float) -> str:
        half = self.coordinates.sizes.thickness(section.records) / 2 + 4
        return f"M{x - half:.1f} {y:.1f}l{2 * half:.1f} {-half:.1f}v{2 * half:.1f}z"

    def section(self, section: Section, stroke: Stroke, lines: str) -> str:
        return (
            f'<g class="section" data-from="{escape(section.start.name)}" data-to="{escape(section.end.name)}"'
            f' data-records="{section.records}">{escaped_title(_described(section))}{lines}</g>'
        )

    def station(self, station: Station, x: float, y: float, top: float, bottom: float) -> Iterator[str]:
        named = f' data-station="{escape(station.name)}"'
        yield rect_of(kind_of(station), x - HALF_STATION, top, 2 * HALF_STATION, bottom - top, named)
        if station.is_terminal:
            x += HALF_STATION + 8
            yield f'<text x="{x:.1f}" y="{y - 2:.1f}">{station.name}</text>'
            yield f'<text class="number" x="{x:.1f}" y="{y + 13:.1f}">{escape(self._share(station))}</text>'
        else:
            name = escape(shorten(station.name, NAME_MOST))
            yield f'<text x="{x:.1f}" y="{top - 8:.1f}" text-anchor="middle">{name}</text>'

    def numbers(self, vertex: Vertex) -> Iterator[str]:
        """Write the number of records on each section, where the section leaves its station."""
        x = self.columns.middles[vertex[1]] + HALF_STATION + 7
        for section, height in self.coordinates.sections_from(vertex):
            if section.records:
                y = height - self.coordinates.sizes.thickness(section.records) / 2 - 4
                yield f'<text class="number" x="{x:.1f}" y="{y:.1f}">{count(section.records)}</text>'


def _described(section: Section) -> str:
    return described(section, f": {counted(section.records, 'record')}")
