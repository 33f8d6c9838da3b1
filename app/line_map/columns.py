"""Stage 5b: the horizontal coordinates. A layer is as wide as its names, and a channel as wide as its tracks."""

from __future__ import annotations

from metroline.app.line_map.channels import Channel
from metroline.app.line_map.coordinates import Coordinates
from metroline.app.line_map.graph import Section, Station
from metroline.app.markup.numbers import count
from metroline.app.markup.text import display_width, shorten

NAME_MOST = 28
"""Terminal columns of a station's name up to which it is drawn in full."""
NAME_LETTER, NUMBER_LETTER = 8.2, 6.8
"""Width of a letter of a name and of a digit in the widest of the usual fonts, in pixels."""
HALF_STATION = 10.0
MARGIN = 16.0


class Columns:
    """The channels, the middle of each layer (`middles`), and where the channel after each layer begins (`edges`)."""

    def __init__(self, sections: list[Section], coordinates: Coordinates) -> None:
        self._sections = sections
        self._graph = coordinates.graph
        self._room = coordinates.sizes.room
        layers = range(self._graph.layer_count)
        self.channels = [Channel(coordinates, layer) for layer in layers]
        self.middles = [MARGIN + self._left_of(0)]
        for layer in layers[1:]:
            self.middles.append(self._edge(layer - 1) + self.channels[layer - 1].width + self._left_of(layer))
        self.edges = [self._edge(layer) for layer in layers]

    def right_end(self, labels: dict[Station, str]) -> float:
        """Return the right end of the map; `labels` are the figures under the names of the terminals."""
        last = self._graph.layer_count - 1
        widths = [
            max(NAME_LETTER * display_width(station.name), NUMBER_LETTER * len(label))
            for station, label in labels.items()
        ]
        climbs = [self.edges[last] + self.channels[last].width] if self.channels[last].tracks else []
        return max([self.edges[last], self.middles[last] + HALF_STATION + 8 + max(widths), *climbs])

    def _left_of(self, layer: int) -> float:
        """Return the width of names and bends at the left of a layer's middle."""
        return max(self._half_name(layer), HALF_STATION + 12)

    def _edge(self, layer: int) -> float:
        """Return where the channel after a layer begins: behind its names and the numbers on what begins there."""
        begun = [each for each in self._sections if self._graph.layer_of[each.start] == layer]
        numbers = [HALF_STATION + 14 + NUMBER_LETTER * self._letters(each) for each in begun]
        return self.middles[layer] + max([self._half_name(layer), *numbers])

    def _letters(self, section: Section) -> int:
        return max(self._room.number_letters, len(count(section.records)))

    def _half_name(self, layer: int) -> float:
        stations = [station for station, own in self._graph.layer_of.items() if own == layer]
        names = [shorten(each.name, NAME_MOST) for each in stations if not each.is_terminal]
        least = self._room.half_name if names else 0.0
        if self._room.is_beside:
            return max(HALF_STATION, least)
        return max([HALF_STATION, least, *(NAME_LETTER * display_width(name) / 2 for name in names)])
