"""Draws a line as metro maps are drawn, as an SVG with the traffic on it."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from importlib.resources import files

from metroline.app.line_map.channels import Track
from metroline.app.line_map.columns import HALF_STATION, MARGIN, NAME_MOST, Columns
from metroline.app.line_map.coordinates import Coordinates
from metroline.app.line_map.edges import Edges, Stroke
from metroline.app.line_map.graph import START, TERMINALS, Section, Station, Traffic, sections_of
from metroline.app.line_map.ordering import LayeredGraph, Vertex
from metroline.app.markup.escaping import escape
from metroline.app.markup.numbers import count, counted, percent
from metroline.app.markup.text import shorten
from metroline.routing.rules.network import Network

RULES_NAMED = 5
"""Rules of a section that its description names."""


def draw(network: Network, traffic: Traffic) -> str:
    """Return the map as an SVG that scales to its container."""
    return "".join(_Drawing(sections_of(network, traffic)).svg())


@cache
def _style() -> str:
    return "\n" + files(__package__).joinpath("map.css").read_text("utf-8")


class _Drawing:
    def __init__(self, sections: list[Section]) -> None:
        self.sections = sections
        self.graph = LayeredGraph(sections)
        self.coordinates = Coordinates(self.graph)
        self.columns = Columns(sections, self.coordinates)
        self.edges = Edges(self.coordinates, self.columns)
        self.sent = sum(each.records for each in sections if each.start == START)

    def svg(self) -> Iterator[str]:
        shapes = self.coordinates.shapes.values()
        top = min([*(shape.above for shape in shapes), *(arc - 10 for arc in self.coordinates.arcs)]) - MARGIN
        height = max(shape.below for shape in shapes) + MARGIN - top
        width = self.columns.right_end({each: self._share(each) for each in TERMINALS}) + MARGIN
        yield (
            f'<svg class="linemap" xmlns="http://www.w3.org/2000/svg" role="img"'
            f' viewBox="0 {top:.1f} {width:.1f} {height:.1f}"'
            f' style="--natural:{width:.0f}px;width:100%;max-width:{1.25 * width:.0f}px">'
            f"<title>Map of the line with its traffic</title><desc>{escape(self._description())}</desc>"
            f"<style>{_style()}</style>"
            f'<rect class="paper" x="0" y="{top:.1f}" width="{width:.1f}" height="{height:.1f}"/>'
        )
        for track, strokes in self.edges.by_track():
            yield from self._strokes(track, strokes)
        for station in self.graph.layer_of:
            yield from self._station(station)
        for vertex in self.coordinates.shapes:
            yield from self._numbers(vertex)
        yield "</svg>"

    def _description(self) -> str:
        used = [_describe(each) for each in self.sections if each.records]
        return ". ".join(["The map reads from left to right; a line is thicker where more records went", *used]) + "."

    def _share(self, terminal: Station) -> str:
        ended = sum(each.records for each in self.sections if each.end == terminal)
        return f"{count(ended)} · {percent(ended, self.sent)}"

    def _strokes(self, track: Track, strokes: list[Stroke]) -> Iterator[str]:
        """Draw all edges to one vertex, over a margin in the colour of the paper where they pass over others."""
        widths = [self.coordinates.sizes.thickness(stroke.records) for stroke in strokes]
        for stroke, width in zip(strokes, widths, strict=True):
            yield f'<path class="under" stroke-width="{width + 5:.1f}" d="{stroke.crossing}"/>'
        for stroke, width in zip(strokes, widths, strict=True):
            kind = f"{_kind(track.goal[0])}{'' if stroke.records else ' idle'}" if track.goal else ""
            path = f'<path class="{kind}" stroke-width="{width:.1f}" d="{stroke.path}"/>'
            yield path if stroke.section is None else self._section(stroke.section, path)

    def _section(self, section: Section, path: str) -> str:
        arrow = ""
        if section in self.graph.loops:
            left, right, y = self.edges.arc(self.graph.loops.index(section))
            x, half = (left + right) / 2, self.coordinates.sizes.thickness(section.records) / 2 + 4
            arrow = f'<path class="arrow" d="M{x - half:.1f} {y:.1f}l{2 * half:.1f} {-half:.1f}v{2 * half:.1f}z"/>'
        return (
            f'<g class="section" data-from="{escape(section.start.name)}" data-to="{escape(section.end.name)}"'
            f' data-records="{section.records}"><title>{escape(_describe(section))}</title>{path}{arrow}</g>'
        )

    def _station(self, station: Station) -> Iterator[str]:
        layer = self.graph.layer_of[station]
        x, shape = self.columns.middles[layer], self.coordinates.shapes[station, layer]
        top, height = shape.y + shape.top, shape.bottom - shape.top
        yield (
            f'<rect class="station {_kind(station)}" data-station="{escape(station.name)}" x="{x - HALF_STATION:.1f}"'
            f' y="{top:.1f}" width="{2 * HALF_STATION:.1f}" height="{height:.1f}" rx="{HALF_STATION:.1f}"/>'
        )
        if station.is_terminal:
            x += HALF_STATION + 8
            yield f'<text x="{x:.1f}" y="{shape.y - 2:.1f}">{station.name}</text>'
            yield f'<text class="number" x="{x:.1f}" y="{shape.y + 13:.1f}">{escape(self._share(station))}</text>'
        else:
            name = escape(shorten(station.name, NAME_MOST))
            yield f'<text x="{x:.1f}" y="{top - 8:.1f}" text-anchor="middle">{name}</text>'

    def _numbers(self, vertex: Vertex) -> Iterator[str]:
        """Write the number of records on each section, where the section leaves its station."""
        x = self.columns.middles[vertex[1]] + HALF_STATION + 7
        for section, height in self.coordinates.sections_from(vertex):
            if section.records:
                y = height - self.coordinates.sizes.thickness(section.records) / 2 - 4
                yield f'<text class="number" x="{x:.1f}" y="{y:.1f}">{count(section.records)}</text>'


def _kind(station: Station) -> str:
    return station.name if station.is_terminal else "stop"


def _describe(section: Section) -> str:
    """Return a section in words: from where to where, how many records, and by which rules."""
    named = ", ".join(rule.name for rule in section.rules[:RULES_NAMED])
    more = f" and {len(section.rules) - RULES_NAMED} more" if len(section.rules) > RULES_NAMED else ""
    by = f" ({named}{more})" if named else ""
    records = counted(section.records, "record")
    return f"{section.start.name} to {section.end.name}: {records}{by}"
