"""Draws a line as the metro map on which live figures stand: the same table gives the same picture, byte for byte."""

from __future__ import annotations

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

ROOM = Room(name_height=42.0, half_name=70.0, number_letters=9)
"""Room for two lines above a station, of which the second one has figures, and for a rate on each section."""

WIDTH, PASSING = 4.0, 9.0
"""Width of a line, and of the margin with which it passes over others, in pixels."""

RULES_NAMED = 5
"""Rules of a section that its description names."""

StationFigures = Callable[[Station, str], str]
"""Returns the figures of a station in a line (`waiting`, `times` or `ended`) as `tspan` elements."""

SectionFigures = Callable[[Section], str]
"""Returns the figures of a section as `tspan` elements."""


def live_map(network: Network, stations: StationFigures, sections: SectionFigures, link: Callable[[str], str]) -> str:
    """Return the map as an SVG. `link` returns the address to which a stop leads.

    Everything but the content of the figures follows from the rules table alone.
    """
    found = sections_of(network, {})
    for section in found:
        section.records = 1  # all alike: the layout makes room by them, and no figure may move a station
    return "".join(_Drawing(found, stations, sections, link).svg())


@cache
def _style() -> str:
    return "\n" + files(__package__).joinpath("map.css").read_text("utf-8")


class _Drawing:
    def __init__(
        self, sections: list[Section], stations: StationFigures, of_section: SectionFigures, link: Callable[[str], str]
    ) -> None:
        self.sections = sections
        self.graph = LayeredGraph(sections)
        self.coordinates = Coordinates(self.graph, ROOM)
        self.columns = Columns(sections, self.coordinates)
        self.edges = Edges(self.coordinates, self.columns)
        self._stations = stations
        self._of_section = of_section
        self._link = link

    def svg(self) -> Iterator[str]:
        """Yield the parts of the SVG."""
        shapes = self.coordinates.shapes.values()
        top = min([*(shape.above for shape in shapes), *(arc - 10 for arc in self.coordinates.arcs)]) - MARGIN
        height = max(shape.below for shape in shapes) + 2 * MARGIN - top
        ends = {each: "0,000,000/s" for each in TERMINALS if each in self.graph.layer_of}
        width = self.columns.right_end(ends or {TERMINALS[0]: ""}) + MARGIN
        yield (
            f'<svg class="linemap live" xmlns="http://www.w3.org/2000/svg" role="group" aria-labelledby="map-title"'
            f' viewBox="0 {top:.1f} {width:.1f} {height:.1f}" style="--natural:{width:.0f}px">'
            f'<title id="map-title">Map of the line with its traffic, from left to right</title>'
            f"<style>{_style()}</style>"
            f'<rect class="paper" x="0" y="{top:.1f}" width="{width:.1f}" height="{height:.1f}"/>'
        )
        for track, strokes in self.edges.by_track():
            yield from self._strokes(track, strokes)
        for station in self.graph.layer_of:
            yield from self._station(station)
        for vertex in self.coordinates.shapes:
            yield from self._figures(vertex)
        yield "</svg>"

    def _strokes(self, track: Track, strokes: list[Stroke]) -> Iterator[str]:
        for stroke in strokes:
            yield f'<path class="under" stroke-width="{PASSING:g}" d="{stroke.crossing}"/>'
        for stroke in strokes:
            kind = _kind(track.goal[0]) if track.goal else ""
            path = f'<path class="{kind}" stroke-width="{WIDTH:g}" d="{stroke.path}"/>'
            yield path if stroke.section is None else self._section(stroke.section, path)

    def _section(self, section: Section, path: str) -> str:
        arrow = ""
        if section in self.graph.loops:
            left, right, y = self.edges.arc(self.graph.loops.index(section))
            x, half = (left + right) / 2, WIDTH + 2
            arrow = f'<path class="arrow" d="M{x - half:.1f} {y:.1f}l{2 * half:.1f} {-half:.1f}v{2 * half:.1f}z"/>'
        return f'<g class="section"><title>{escape(_described(section))}</title>{path}{arrow}</g>'

    def _station(self, station: Station) -> Iterator[str]:
        layer = self.graph.layer_of[station]
        x, shape = self.columns.middles[layer], self.coordinates.shapes[station, layer]
        top, height = shape.y + shape.top, shape.bottom - shape.top
        drawn = (
            f'<rect class="station {_kind(station)}" x="{x - HALF_STATION:.1f}" y="{top:.1f}"'
            f' width="{2 * HALF_STATION:.1f}" height="{height:.1f}" rx="{HALF_STATION:.1f}"/>'
        )
        if station.is_terminal:
            x += HALF_STATION + 8
            yield f'{drawn}<text x="{x:.1f}" y="{shape.y - 2:.1f}">{escape(station.name)}</text>'
            yield f'<text class="number" x="{x:.1f}" y="{shape.y + 13:.1f}">{self._stations(station, "ended")}</text>'
            return
        name = escape(shorten(station.name, NAME_MOST))
        middle = f'x="{x:.1f}" text-anchor="middle"'
        yield (
            f'<a href="{escape(self._link(station.name))}"><title>{escape(station.name)}</title>{drawn}'
            f'<text {middle} y="{top - 24:.1f}">{name}</text></a>'
        )
        yield f'<text class="number" {middle} y="{top - 9:.1f}">{self._stations(station, "waiting")}</text>'
        yield f'<text class="number" {middle} y="{top + height + 14:.1f}">{self._stations(station, "times")}</text>'

    def _figures(self, vertex: Vertex) -> Iterator[str]:
        """Write the rate of each section where the section leaves its station."""
        x = self.columns.middles[vertex[1]] + HALF_STATION + 7
        for section, height in self.coordinates.sections_from(vertex):
            yield f'<text class="number" x="{x:.1f}" y="{height - WIDTH - 2:.1f}">{self._of_section(section)}</text>'


def _kind(station: Station) -> str:
    return station.name if station.is_terminal else "stop"


def _described(section: Section) -> str:
    """Return a section in words: from where to where, and by which rules."""
    named = ", ".join(rule.name for rule in section.rules[:RULES_NAMED])
    more = f" and {len(section.rules) - RULES_NAMED} more" if len(section.rules) > RULES_NAMED else ""
    return f"{section.start.name} to {section.end.name}" + (f" ({named}{more})" if named else "")
