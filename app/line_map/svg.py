"""The map of a line, drawn as metro maps are: as an SVG with the traffic on it, and in plain text."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from metroline.app.line_map.channels import Channel, Track
from metroline.app.line_map.coordinates import Layout
from metroline.app.line_map.edges import Stroke, Ways
from metroline.app.line_map.graph import START, TERMINALS, Section, Station, sections_of
from metroline.app.line_map.ordering import Grid, Place
from metroline.app.line_map.text import text_map
from metroline.app.markup.numbers import cells, count, percent, shortened, text
from metroline.routing.rules.network import Network

__all__ = ["draw", "text_map"]

NAME_MOST = 28
"""Letters of a station's name that are shown."""
NAME_LETTER, NUMBER_LETTER = 8.2, 6.8
"""The width of a letter of a name and of a number in the widest of the usual fonts, in pixels."""
HALF_STATION = 10.0
MARGIN = 16.0
RULES_NAMED = 5

STYLE = """
.linemap { --card: #fff; --ink: #1d2330; --soft: #565e6e; --accent: #0b57a4; --delivered: #1a7f4b; --dropped: #96640a;
  --dead: #b3261e; font-family: system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif; }
@media screen and (prefers-color-scheme: dark) { .linemap { --card: #1c2029; --ink: #e4e6eb; --soft: #a6afbe;
  --accent: #6fabee; --delivered: #5fcf96; --dropped: #e3b25c; --dead: #ff8f86; } }
.linemap .paper { fill: var(--card); }
.linemap path { fill: none; stroke-linecap: round; }
.linemap path.under { stroke: var(--card); stroke-linecap: butt; }
.linemap path.idle { stroke-dasharray: 1.5 5; }
.linemap .stop { stroke: var(--accent); }
.linemap .delivered { stroke: var(--delivered); }
.linemap .dropped { stroke: var(--dropped); }
.linemap .dead { stroke: var(--dead); }
.linemap .arrow { stroke: none; fill: var(--accent); }
.linemap rect.station { fill: var(--card); stroke-width: 3; }
.linemap rect.stop { stroke: var(--ink); }
.linemap rect.delivered { fill: var(--delivered); }
.linemap rect.dropped { fill: var(--dropped); }
.linemap rect.dead { fill: var(--dead); }
.linemap text { fill: var(--ink); font-size: 13px; font-weight: 600; }
.linemap text.number { fill: var(--soft); font-size: 11px; font-weight: 500; font-variant-numeric: tabular-nums;
  stroke: var(--card); stroke-width: 4px; paint-order: stroke; stroke-linejoin: round; }
"""


def draw(network: Network, traffic: Mapping[str, Mapping[str, int]]) -> str:
    """The map as an SVG that scales to its container.

    `traffic` counts outcomes by route: `{"contact_point>log": {"delivered": 3, "dropped": 0, "dead": 0}}`.
    """
    return "".join(_Drawing(sections_of(network, traffic)).svg())


class _Drawing:
    def __init__(self, sections: list[Section]) -> None:
        self.sections = sections
        self.grid = Grid(sections)
        self.layout = Layout(self.grid)
        self.channels = [Channel(self.layout, column) for column in range(self.grid.columns)]
        self.xs = [MARGIN + self._left_of(0)]
        for column in range(1, self.grid.columns):
            self.xs.append(self._edge(column - 1) + self.channels[column - 1].width + self._left_of(column))
        edges = [self._edge(column) for column in range(self.grid.columns)]
        self.ways = Ways(self.layout, self.channels, self.xs, edges)
        self.sent = sum(each.records for each in sections if each.start == START)

    def svg(self) -> Iterator[str]:
        stands = self.layout.stands.values()
        top = min([*(stand.above for stand in stands), *(arc - 10 for arc in self.layout.arcs)]) - MARGIN
        height = max(stand.below for stand in stands) + MARGIN - top
        width = self._right_end() + MARGIN
        yield (
            f'<svg class="linemap" xmlns="http://www.w3.org/2000/svg" role="img"'
            f' viewBox="0 {top:.1f} {width:.1f} {height:.1f}"'
            f' style="--natural:{width:.0f}px;width:100%;max-width:{1.25 * width:.0f}px">'
            f"<title>The line and its traffic</title><desc>{text(self._told())}</desc><style>{STYLE}</style>"
            f'<rect class="paper" x="0" y="{top:.1f}" width="{width:.1f}" height="{height:.1f}"/>'
        )
        for track, strokes in self.ways.by_track():
            yield from self._drawn(track, strokes)
        for station in self.grid.layers:
            yield from self._station(station)
        for place in self.layout.stands:
            yield from self._numbers(place)
        yield "</svg>"

    def _left_of(self, column: int) -> float:
        """What names and bends take at the left of a column's middle."""
        return max(self._half_name(column), HALF_STATION + 12)

    def _edge(self, column: int) -> float:
        """Where the channel after a column begins: behind its names and the numbers on what begins there."""
        begun = [each for each in self.sections if self.grid.layers[each.start] == column]
        numbers = [HALF_STATION + 14 + NUMBER_LETTER * len(count(each.records)) for each in begun]
        return self.xs[column] + max([self._half_name(column), *numbers])

    def _half_name(self, column: int) -> float:
        names = [shortened(each.name, NAME_MOST) for each in self._standing(column) if not each.is_terminal]
        return max([HALF_STATION, *(NAME_LETTER * cells(name) / 2 for name in names)])

    def _standing(self, column: int) -> list[Station]:
        return [station for station, layer in self.grid.layers.items() if layer == column]

    def _right_end(self) -> float:
        last = self.grid.columns - 1
        labels = [max(NAME_LETTER * cells(each.name), NUMBER_LETTER * len(self._share(each))) for each in TERMINALS]
        climbs = [self._edge(last) + self.channels[last].width] if self.channels[last].tracks else []
        return max([self._edge(last), self.xs[last] + HALF_STATION + 8 + max(labels), *climbs])

    def _share(self, terminal: Station) -> str:
        ended = sum(each.records for each in self.sections if each.end == terminal)
        return f"{count(ended)} · {percent(ended, self.sent)}"

    def _drawn(self, track: Track, strokes: list[Stroke]) -> Iterator[str]:
        """All that leads to one place, over a margin that lets it pass over what it crosses."""
        widths = [self.layout.width(stroke.records) for stroke in strokes]
        for stroke, width in zip(strokes, widths, strict=True):
            yield f'<path class="under" stroke-width="{width + 5:.1f}" d="{stroke.crossing}"/>'
        for stroke, width in zip(strokes, widths, strict=True):
            kind = f"{_kind(track.goal[0])}{'' if stroke.records else ' idle'}" if track.goal else ""
            path = f'<path class="{kind}" stroke-width="{width:.1f}" d="{stroke.path}"/>'
            yield path if stroke.section is None else self._section(stroke.section, path)

    def _section(self, section: Section, path: str) -> str:
        arrow = ""
        if section in self.grid.loops:
            left, right, y = self.ways.arc(self.grid.loops.index(section))
            x, half = (left + right) / 2, self.layout.width(section.records) / 2 + 4
            arrow = f'<path class="arrow" d="M{x - half:.1f} {y:.1f}l{2 * half:.1f} {-half:.1f}v{2 * half:.1f}z"/>'
        return (
            f'<g class="section" data-from="{text(section.start.name)}" data-to="{text(section.end.name)}"'
            f' data-records="{section.records}"><title>{text(_told(section))}</title>{path}{arrow}</g>'
        )

    def _station(self, station: Station) -> Iterator[str]:
        column = self.grid.layers[station]
        x, stand = self.xs[column], self.layout.stands[station, column]
        top, height = stand.y + stand.top, stand.bottom - stand.top
        yield (
            f'<rect class="station {_kind(station)}" data-station="{text(station.name)}" x="{x - HALF_STATION:.1f}"'
            f' y="{top:.1f}" width="{2 * HALF_STATION:.1f}" height="{height:.1f}" rx="{HALF_STATION:.1f}"/>'
        )
        if station.is_terminal:
            x += HALF_STATION + 8
            yield f'<text x="{x:.1f}" y="{stand.y - 2:.1f}">{station.name}</text>'
            yield f'<text class="number" x="{x:.1f}" y="{stand.y + 13:.1f}">{text(self._share(station))}</text>'
        else:
            name = text(shortened(station.name, NAME_MOST))
            yield f'<text x="{x:.1f}" y="{top - 8:.1f}" text-anchor="middle">{name}</text>'

    def _numbers(self, place: Place) -> Iterator[str]:
        """How many records took each section, where it leaves its station."""
        x = self.xs[place[1]] + HALF_STATION + 7
        for section, height in self.layout.begun(place):
            if section.records:
                y = height - self.layout.width(section.records) / 2 - 4
                yield f'<text class="number" x="{x:.1f}" y="{y:.1f}">{count(section.records)}</text>'

    def _told(self) -> str:
        """The map in words."""
        travelled = [_told(each) for each in self.sections if each.records]
        return ". ".join(["From left to right, thicker where more records went", *travelled]) + "."


def _kind(station: Station) -> str:
    return station.name if station.is_terminal else "stop"


def _told(section: Section) -> str:
    """A section in words: from where to where, how many records, and by which rules."""
    named = ", ".join(rule.name for rule in section.rules[:RULES_NAMED])
    more = f" and {len(section.rules) - RULES_NAMED} more" if len(section.rules) > RULES_NAMED else ""
    by = f" ({named}{more})" if named else ""
    records = f"{count(section.records)} record{'' if section.records == 1 else 's'}"
    return f"{section.start.name} to {section.end.name}: {records}{by}"
