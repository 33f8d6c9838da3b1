"""Draws a line as plain text for terminals: each stop with its rules in order, from the source on."""

from __future__ import annotations

import json
from collections.abc import Iterator

from metroline.app.line_map.graph import Station, sections_of
from metroline.app.line_map.layers import assign_layers
from metroline.app.markup.text import display_width, one_line, shorten
from metroline.routing.addresses import SOURCE
from metroline.routing.rules.network import Network
from metroline.routing.rules.rule import Rule

NAME_MOST = 28
CONDITION_MOST = 72
"""Width of a condition, in terminal columns; `metroline rules show` prints all of it."""

Row = tuple[str, str, str, str]
"""The stop, the branch, the condition, and where it leads."""


def text_map(network: Network) -> str:
    """Return the network as lines of three columns: stop, condition, and where it leads.

    `→ stop` leads on, `↺ stop` leads back, `✕ reason` drops, and `■ end` delivers at the end of this name. A record for
    which no rule holds becomes a dead letter: `? unroutable`.
    """
    layers = assign_layers(sections_of(network, {}))
    stops = sorted([SOURCE, *network.stops], key=lambda stop: layers.get(Station(stop), 0))
    rows = [row for stop in stops for row in _rows(network, stop, layers)]
    widths = [max(display_width(row[column]) for row in rows) for column in range(3)]
    return "\n".join(_line(row, widths) for row in rows)


def _rows(network: Network, stop: str, layers: dict[Station, int]) -> Iterator[Row]:
    name = shorten(one_line(stop), NAME_MOST)
    rules = network.edges.get(stop, [])
    branches = [(_condition(rule, alone=len(rules) == 1), _goal(network, rule, layers)) for rule in rules]
    if not rules:
        yield name, "■", "end", ""
        return
    if not rules[-1].is_unconditional:
        branches.append(("otherwise", "? unroutable"))
    for index, (condition, goal) in enumerate(branches):
        sign = "─" if len(branches) == 1 else "┬" if index == 0 else "└" if index + 1 == len(branches) else "├"
        yield name if index == 0 else "", sign, condition, goal


def _condition(rule: Rule, *, alone: bool) -> str:
    if rule.is_unconditional:
        return "always" if alone else "otherwise"
    equal = ", ".join(f"{name}={json.dumps(value, ensure_ascii=False)}" for name, value in rule.match.items())
    parts = [f"match {equal}" if equal else "", f"when {rule.when}" if rule.when else ""]
    return shorten(one_line(" ".join(parts)), CONDITION_MOST)


def _goal(network: Network, rule: Rule, layers: dict[Station, int]) -> str:
    if rule.to is None:
        return f"✕ {one_line(rule.drop)}"
    stop = network.table.next_stop(rule)
    if stop is None:
        return f"■ {one_line(rule.to)}"
    leads_back = layers[Station(stop)] <= layers[Station(rule.after)]
    return f"{'↺' if leads_back else '→'} {one_line(stop)}"


def _line(row: Row, widths: list[int]) -> str:
    padded = [cell + " " * (width - display_width(cell)) for cell, width in zip(row, widths, strict=False)]
    return " ".join([*padded, row[3]]).rstrip()
