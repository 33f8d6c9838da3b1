"""Charts of a report: bars in proportion, with their values and ratios."""

from __future__ import annotations

import xml.etree.ElementTree as ET

import pytest
from msgspec.structs import replace

from metroline.app.compare.report import beside_each_other
from tests.support.comparisons import comparison, drawings, report, run


def test_a_chart_shows_values_in_proportion() -> None:
    runs = [replace(run(name), hops_per_record=hops) for name, hops in (("hard_wired", 3.0), ("conductor", 6.0))]
    chart = next(svg for svg in drawings(report(comparison(*runs))) if "Hops per record" in svg)
    widths = [float(bar.get("width", "")) for bar in ET.fromstring(chart).iter("rect")]
    assert widths[1] == pytest.approx(2 * widths[0], rel=0.01)
    assert "2.0 \N{MULTIPLICATION SIGN}" in chart


def test_a_run_that_cost_nothing_draws_no_bar_and_no_error() -> None:
    idle = replace(run("hard_wired"), records_per_second=0.0, hops_per_record=0.0, cpu_seconds_per_10k=0.0, routes={})
    assert "hard_wired" in report(comparison(idle))


def test_the_name_of_a_chained_run_is_not_under_its_bar() -> None:
    runs = [run("conductor"), replace(run("conductor"), chaining=True)]
    chart = next(svg for svg in drawings(report(comparison(*runs))) if "Hops per record" in svg)
    bars = [float(bar.get("x", "")) for bar in ET.fromstring(chart).iter("rect")]
    assert min(bars) > 6.5 * len("conductor, chained")


def test_charts_beside_each_other_have_one_axis() -> None:
    slow, fast = (replace(run("signpost"), records_per_second=speed) for speed in (100.0, 400.0))
    shown = beside_each_other({"before": comparison(slow), "after": comparison(fast)})
    [one, other] = [svg for svg in drawings(shown) if "Records per second" in svg]
    widths = [float(bar.get("width", "")) for svg in (one, other) for bar in ET.fromstring(svg).iter("rect")]
    assert widths[1] == pytest.approx(4 * widths[0], rel=0.01)
