"""Stage 3 of Sugiyama's method: insert dummy vertices, then order each layer so that few edges cross."""

from __future__ import annotations

from bisect import bisect, insort
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

from metroline.app.line_map.graph import DEAD, DROPPED, Section, Station
from metroline.app.line_map.layers import assign_layers

Vertex = tuple[Station, int]
"""A station and a layer: the station's own, or an earlier one, where a dummy vertex leads on to the station."""

SWEEPS = 8


@dataclass(eq=False, slots=True)
class Link:
    """An edge between vertices of adjacent layers: a section, or the shared rest of sections from further left."""

    start: Vertex
    end: Vertex
    records: int
    section: Section | None
    """The section that begins here."""


class LayeredGraph:
    """The vertices by layer, each layer from top to bottom, and the links between adjacent layers.

    Back edges (`loops`) lead to an earlier layer or to their own. The dummy vertices on the way to dropped and dead
    take no part in the ordering: they run below everything else.
    """

    def __init__(self, sections: Sequence[Section]) -> None:
        self.layer_of = assign_layers(sections)
        self.layer_count = max(self.layer_of.values()) + 1
        loops = [each for each in sections if self.layer_of[each.end] <= self.layer_of[each.start]]
        self.loops = sorted(loops, key=lambda each: self.layer_of[each.start] - self.layer_of[each.end])
        self.outgoing: dict[Vertex, list[Link]] = {}
        self.incoming: dict[Vertex, list[Link]] = {}
        self._insert_dummies(sections)
        self.vertices: list[Vertex] = list(dict.fromkeys([*self.layer_of.items(), *self.incoming]))
        self.layers = self._minimize_crossings()
        self.ranks = {vertex: rank for layer in self.layers for rank, vertex in enumerate(layer)}
        for links in self.outgoing.values():
            links.sort(key=self._rank_of_end)

    def is_station(self, vertex: Vertex) -> bool:
        """Return whether a vertex is a station and not a dummy."""
        return self.layer_of[vertex[0]] == vertex[1]

    def load(self, vertex: Vertex) -> int:
        """Return the number of records that come to a vertex from the layer before."""
        return sum(link.records for link in self.incoming.get(vertex, []))

    def loops_from(self, vertex: Vertex) -> list[Section]:
        return [loop for loop in self.loops if self.is_station(vertex) and loop.start == vertex[0]]

    def _insert_dummies(self, sections: Iterable[Section]) -> None:
        """Split each section into links from layer to layer; from the second on, sections to one station share them."""
        shared: dict[Vertex, Link] = {}
        for section in sections:
            first = self.layer_of[section.start]
            for layer in range(first, self.layer_of[section.end]):
                begins = layer == first
                start = (section.start if begins else section.end, layer)
                if not begins and start in shared:
                    shared[start].records += section.records
                    continue
                link = Link(start, (section.end, layer + 1), section.records, section if begins else None)
                if not begins:
                    shared[start] = link
                self.outgoing.setdefault(link.start, []).append(link)
                self.incoming.setdefault(link.end, []).append(link)

    def _minimize_crossings(self) -> list[list[Vertex]]:
        """Return the layers in the best order that alternating barycenter sweeps come to."""
        layers: list[list[Vertex]] = [[] for _ in range(self.layer_count)]
        for vertex in self.vertices:
            if vertex[0] not in (DROPPED, DEAD):
                layers[vertex[1]].append(vertex)
        best, fewest = layers, self._crossings(layers)
        for sweep in range(SWEEPS):
            layers = self._sweep(layers, to_the_right=sweep % 2 == 0)
            crossings = self._crossings(layers)
            if crossings < fewest:
                best, fewest = layers, crossings
        return best

    def _sweep(self, layers: list[list[Vertex]], *, to_the_right: bool) -> list[list[Vertex]]:
        """Sort each layer by the barycenter of each vertex: the mean rank of its neighbours in the layer before it."""
        swept = [list(layer) for layer in layers]
        numbers = range(1, self.layer_count) if to_the_right else range(self.layer_count - 2, -1, -1)
        for number in numbers:
            beside = {vertex: rank for rank, vertex in enumerate(swept[number - 1 if to_the_right else number + 1])}
            barycenters: dict[Vertex, float] = {}
            for rank, vertex in enumerate(swept[number]):
                links = self.incoming.get(vertex, []) if to_the_right else self.outgoing.get(vertex, [])
                neighbours = [link.start if to_the_right else link.end for link in links]
                ranks = [beside[neighbour] for neighbour in neighbours if neighbour in beside]
                barycenters[vertex] = sum(ranks) / len(ranks) if ranks else rank
            swept[number].sort(key=barycenters.__getitem__)
        return swept

    def _crossings(self, layers: list[list[Vertex]]) -> int:
        crossings = 0
        for left, right in pairwise(layers):
            ranks = {vertex: rank for rank, vertex in enumerate(right)}
            passed: list[int] = []
            for vertex in left:
                ends = sorted(ranks[link.end] for link in self.outgoing.get(vertex, []) if link.end in ranks)
                crossings += sum(len(passed) - bisect(passed, end) for end in ends)
                for end in ends:
                    insort(passed, end)
        return crossings

    def _rank_of_end(self, link: Link) -> float:
        """Return the place of a link among those of its vertex, from the top; dropped and dead come last."""
        return self.ranks.get(link.end, len(self.ranks) + (link.end[0] == DEAD))
