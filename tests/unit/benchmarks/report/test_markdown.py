"""Figures in tables."""

from __future__ import annotations

from benchmarks.report.markdown import spread
from tests.unit.benchmarks.report.rounds import rounds


def test_one_round_has_no_spread() -> None:
    assert spread({"a": rounds(p50=[1.25])}, "a", "p50", 1) == "1.2"


def test_several_rounds_show_their_median_and_their_range() -> None:
    assert spread({"a": rounds(p50=[3.0, 1.0, 2.5])}, "a", "p50", 1) == "2.5 (1.0 to 3.0)"
