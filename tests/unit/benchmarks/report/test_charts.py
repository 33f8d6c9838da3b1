"""Bar charts."""

from __future__ import annotations

from benchmarks.report.charts import Bar, bar_chart, is_logarithmic


def test_bars_that_lie_far_apart_are_drawn_on_a_logarithmic_scale() -> None:
    assert is_logarithmic([0.2, 18.0])
    assert not is_logarithmic([0.2, 1.0])
    chart = bar_chart("<figures>", [Bar("a", 0.2, "0.2", True), Bar("b", 18.0, "18", False)])
    assert "&lt;figures&gt;" in chart
