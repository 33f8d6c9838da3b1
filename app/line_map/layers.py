"""Stages 1 and 2 of Sugiyama's method: break the cycles, then assign each station a layer."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from metroline.app.line_map.graph import START, Section, Station


def assign_layers(sections: Iterable[Section]) -> dict[Station, int]:
    """Return the layer of each station: the length of the longest path from the source that follows no back edge.

    All terminals share the last layer.
    """
    successors: dict[Station, list[Station]] = {START: []}
    for section in sections:
        successors.setdefault(section.start, []).append(section.end)
        successors.setdefault(section.end, [])
    order, back_edges = break_cycles(successors)
    layers = dict.fromkeys(successors, 1) | {START: 0}
    for start in order:
        for end in successors[start]:
            if (start, end) not in back_edges:
                layers[end] = max(layers[end], layers[start] + 1)
    last = max(layer for station, layer in layers.items() if not station.is_terminal) + 1
    return {station: last if station.is_terminal else layer for station, layer in layers.items()}


def break_cycles(
    successors: Mapping[Station, list[Station]],
) -> tuple[list[Station], set[tuple[Station, Station]]]:
    """Return the stations in topological order and the back edges, without which the graph has no cycle.

    A depth-first search finds both. It keeps its own stack, so the length of a line is not limited by Python's.
    """
    finished: list[Station] = []
    back_edges: set[tuple[Station, Station]] = set()
    seen: set[Station] = set()
    for root in successors:
        stack = [] if root in seen else [(root, iter(successors[root]))]
        seen.add(root)
        on_stack = {root}
        while stack:
            station, ends = stack[-1]
            end = next(ends, None)
            if end is None:
                stack.pop()
                on_stack.discard(station)
                finished.append(station)
            elif end in on_stack:
                back_edges.add((station, end))
            elif end not in seen:
                seen.add(end)
                on_stack.add(end)
                stack.append((end, iter(successors[end])))
    return finished[::-1], back_edges
