"""The lag of a line on the terminal: told while it is behind, with its trend, and once when it has caught up."""

from __future__ import annotations

from metroline.app.cli.lag_report import LagReport


def test_a_line_that_keeps_up_is_not_spoken_of() -> None:
    report = LagReport()
    assert report.look([]) is None
    assert report.look([{"behind": 0.3, "behind_bus": 0.9}, {"behind": 0.0, "behind_bus": 0.0}]) is None


def test_the_worker_that_is_furthest_behind_counts_and_the_trend_is_told() -> None:
    report = LagReport()
    ages = [2.0, 4.1, 4.15, 3.0, 0.5, 0.4]
    lines = [report.look([{"behind": age, "behind_bus": 0.0}, {"behind": 0.0, "behind_bus": 1.5}]) for age in ages[:4]]
    lines += [report.look([{"behind": age, "behind_bus": 0.0}]) for age in ages[4:]]
    assert lines == [
        "behind by 2 s",
        "behind by 4 s, growing",
        "behind by 4 s",
        "behind by 3 s, shrinking",
        "the line has caught up",
        None,
    ]
