"""Stage 4 of Sugiyama's method: assign the vertical coordinates, so that busy and long edges run straight."""

from __future__ import annotations

from itertools import pairwise
from math import inf

from metroline.app.line_map.graph import DEAD, DROPPED, Section
from metroline.app.line_map.isotonic import fit_positions
from metroline.app.line_map.ordering import LayeredGraph, Link, Vertex
from metroline.app.line_map.shapes import Room, Shape, Sizes

ARC_GAP = 8.0
STRAIGHTEN_BELOW = 22.0
"""A section that would bend by less becomes straight, where there is room."""
SWEEPS, PASSES = 9, 2


class Coordinates:
    """The heights of all vertices, of the sections that leave them, and of the arcs of loops, in pixels."""

    def __init__(self, graph: LayeredGraph, room: Room | None = None) -> None:
        self.graph = graph
        self.sizes = Sizes(graph, room or Room())
        self.shapes: dict[Vertex, Shape] = {vertex: self.sizes.shape(vertex) for vertex in graph.vertices}
        self._stack()
        self._settle()
        for vertex in graph.ranks:
            self._straighten(vertex)
        self._settle()
        for _ in range(PASSES):
            for station in graph.layer_of:
                self._align([each for each in graph.ranks if each[0] == station and not graph.is_station(each)])
        for vertex in graph.ranks:
            self._straighten(vertex, keep_room=True)
        self._place_terminals()
        self.arcs = self._arcs()

    def exit_of(self, link: Link) -> float:
        """Return the height at which a link leaves its vertex."""
        shape = self.shapes[link.start]
        index = len(self.graph.loops_from(link.start)) + self.graph.outgoing[link.start].index(link)
        return shape.y + shape.exits[index]

    def loop_exit(self, loop: int) -> float:
        """Return the height at which a loop leaves its station."""
        section = self.graph.loops[loop]
        vertex = (section.start, self.graph.layer_of[section.start])
        return self.shapes[vertex].y + self.shapes[vertex].exits[self.graph.loops_from(vertex).index(section)]

    def sections_from(self, vertex: Vertex) -> list[tuple[Section, float]]:
        """Return the sections that begin at a vertex, each with the height at which it leaves."""
        links = self.graph.outgoing.get(vertex, [])
        begun = [*self.graph.loops_from(vertex), *(link.section for link in links)]
        heights = [self.shapes[vertex].y + exit_ for exit_ in self.shapes[vertex].exits]
        return [(section, y) for section, y in zip(begun, heights, strict=True) if section is not None]

    def _gap(self, upper: Vertex, lower: Vertex) -> float:
        return self.sizes.gap((upper, self.shapes[upper]), (lower, self.shapes[lower]))

    def _stack(self) -> None:
        """Start with each layer packed from the top."""
        for layer in self.graph.layers:
            for upper, vertex in pairwise(layer):
                self.shapes[vertex].y = self.shapes[upper].y + self._gap(upper, vertex)

    def _settle(self) -> None:
        """Move the vertices, layer by layer there and back, to where their links run straight."""
        for sweep in range(SWEEPS):
            for layer in self.graph.layers if sweep % 2 == 0 else reversed(self.graph.layers):
                wishes = [self._wishes(vertex, ahead=sweep > 0) for vertex in layer]
                gaps = [self._gap(upper, lower) for upper, lower in pairwise(layer)]
                for vertex, y in zip(layer, fit_positions(wishes, gaps), strict=True):
                    self.shapes[vertex].y = y

    def _wishes(self, vertex: Vertex, *, ahead: bool) -> list[tuple[float, float]]:
        """Return the heights at which a link of this vertex would be straight, each with its weight."""
        shape = self.shapes[vertex]
        wishes = [(self.exit_of(link), self._weight(link)) for link in self.graph.incoming.get(vertex, [])]
        for link in self.graph.outgoing.get(vertex, []) if ahead else []:
            if link.end in self.graph.ranks:
                wishes.append((self.shapes[link.end].y - self.exit_of(link) + shape.y, self._weight(link)))
        return wishes or [(shape.y, 1.0)]

    def _weight(self, link: Link) -> float:
        dummies = (not self.graph.is_station(link.start)) + (not self.graph.is_station(link.end))
        return (1 + 40 * (link.records / self.sizes.peak) ** 2) * (1, 2, 6)[dummies]

    def _straighten(self, vertex: Vertex, *, keep_room: bool = False) -> None:
        """Move the exits of a station a little towards where they lead; with `keep_room`, only if it still fits."""
        shape, links = self.shapes[vertex], self.graph.outgoing.get(vertex, [])
        if not links or not self.graph.is_station(vertex):
            return
        first = len(self.graph.loops_from(vertex))
        wishes = [(exit_, 0.1) for exit_ in shape.exits]
        for index, link in enumerate(links, first):
            wish = self.shapes[link.end].y - shape.y
            if link.end in self.graph.ranks and abs(wish - shape.exits[index]) < STRAIGHTEN_BELOW:
                wishes[index] = (wish, self._weight(link))
        exits = fit_positions([[wish] for wish in wishes], self.sizes.exit_gaps(vertex))
        self.shapes[vertex] = self.sizes.around(vertex, exits, shape.y)
        if keep_room and not self._fits(vertex, shape.y):
            self.shapes[vertex] = shape

    def _align(self, dummies: list[Vertex]) -> None:
        """Put all dummies that lead to one station at the height of one of them, if there is room for it."""
        heights = sorted({self.shapes[dummy].y for dummy in dummies})
        for y in heights if len(heights) > 1 else []:
            if all(self._fits(dummy, y) for dummy in dummies):
                for dummy in dummies:
                    self.shapes[dummy].y = y
                return

    def _fits(self, vertex: Vertex, y: float) -> bool:
        layer, rank = self.graph.layers[vertex[1]], self.graph.ranks[vertex]
        upper, lower = layer[rank - 1 : rank] if rank else [], layer[rank + 1 : rank + 2]
        return all(self.shapes[each].y + self._gap(each, vertex) <= y + 0.01 for each in upper) and all(
            y + self._gap(vertex, each) <= self.shapes[each].y + 0.01 for each in lower
        )

    def _place_terminals(self) -> None:
        """Put the vertices of dropped and dead on a level each, below everything else."""
        y = max(self.shapes[vertex].below for layer in self.graph.layers for vertex in layer)
        for terminal in (DROPPED, DEAD):
            vertices = [vertex for vertex in self.graph.vertices if vertex[0] == terminal]
            y += self.sizes.room.terminal_gap if vertices else 0
            for vertex in vertices:
                self.shapes[vertex].y = y

    def _arcs(self) -> list[float]:
        """Return the height of the arc of each loop, above everything in the layers that the loop spans."""
        tops = [min([inf, *(self.shapes[vertex].above for vertex in layer)]) for layer in self.graph.layers]
        arcs: list[float] = []
        for loop in self.graph.loops:
            span = range(self.graph.layer_of[loop.end], self.graph.layer_of[loop.start] + 1)
            half = self.sizes.thickness(loop.records) / 2
            arcs.append(min(tops[layer] for layer in span) - ARC_GAP - half)
            for layer in span:
                tops[layer] = arcs[-1] - half
        return arcs
