"""Layers of a map: a station's layer is its longest path from the source, with cycles broken."""

from __future__ import annotations

from itertools import pairwise

import pytest

from metroline.app.line_map.graph import DEAD, DELIVERED, START, Section, Station
from metroline.app.line_map.isotonic import fit_positions
from metroline.app.line_map.layers import assign_layers, break_cycles

A, B, C = map(Station, "abc")


def sections(*pairs: tuple[Station, Station]) -> list[Section]:
    return [Section(start, end) for start, end in pairs]


def test_a_station_is_behind_the_longest_way_to_it() -> None:
    layers = assign_layers(sections((START, A), (START, C), (A, B), (B, C), (C, DELIVERED)))
    assert layers == {START: 0, A: 1, B: 2, C: 3, DELIVERED: 4}


def test_terminals_share_the_last_layer() -> None:
    layers = assign_layers(sections((START, A), (START, DEAD), (A, DELIVERED)))
    assert layers[DEAD] == layers[DELIVERED] == 2


def test_a_cycle_is_broken_where_it_leads_back() -> None:
    order, back_edges = break_cycles({START: [A], A: [B], B: [A, B]})
    assert order == [START, A, B]
    assert back_edges == {(B, A), (B, B)}


def test_a_line_of_ten_thousand_stops_has_as_many_layers() -> None:
    stops = [Station(f"stop {number}") for number in range(10_000)]
    layers = assign_layers(sections((START, stops[0]), *pairwise(stops)))
    assert layers[stops[-1]] == 10_000


def test_positions_that_fit_are_as_wished() -> None:
    assert fit_positions([[(0.0, 1.0)], [(50.0, 1.0)]], [10.0]) == [0.0, 50.0]


def test_positions_too_close_to_each_other_move_apart_and_the_heavier_wish_counts() -> None:
    assert fit_positions([[(20.0, 1.0)], [(20.0, 5.0)]], [10.0]) == pytest.approx([10.0, 20.0])
