"""The verdicts on targets."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from benchmarks.report.results import Entries
from benchmarks.report.targets import verdicts
from benchmarks.report.verdict import Verdict
from tests.unit.benchmarks.report.rounds import rounds


def judged(
    sections: Mapping[str, Entries], memory: dict[str, Any] | None = None, broker: str = "kafka"
) -> list[Verdict]:
    """Return the verdicts reached when only this broker has results."""
    found = verdicts(lambda section, where: sections.get(section, {}) if where == broker else {}, memory or {})
    return [verdict for verdict in found if verdict.is_met is not None]


@pytest.mark.parametrize(("cpu", "is_met"), [([0.2, 0.25, 0.9], True), ([0.2, 0.2501, 0.26], False)])
def test_the_median_of_the_rounds_is_judged(cpu: list[float], is_met: bool) -> None:
    (verdict,) = judged({"throughput": {"signpost": rounds(cpu_per_10k=cpu)}})
    assert verdict.is_met is is_met


def test_a_conductor_is_judged_by_a_map_maker_of_the_same_run() -> None:
    entries = {"conductor": rounds(cpu_per_10k=[0.4]), "map_maker": rounds(cpu_per_10k=[0.2])}
    verdict = next(each for each in judged({"throughput": entries}) if "conductor" in each.target)
    assert (verdict.figure, verdict.is_met) == ("2.00", False)


def test_the_embedded_broker_is_allowed_a_later_percentile_than_kafka() -> None:
    entries = {"latency": {"signpost": rounds(p50=[9.0], p99=[40.0])}}
    assert [verdict.is_met for verdict in judged(entries)] == [True, False]
    assert [verdict.is_met for verdict in judged(entries, broker="embedded")] == [True]


@pytest.mark.parametrize(
    ("twelve", "figure", "is_met"), [(1.2, "0 %", True), (1.5, "25 %", False), (0.9, "-25 %", True)]
)
def test_a_stop_may_cost_a_record_no_more_in_a_longer_line(twelve: float, figure: str, is_met: bool) -> None:
    entries = {"signpost/3": rounds(cpu_per_10k=[0.3]), "signpost/12": rounds(cpu_per_10k=[twelve])}
    (verdict,) = judged({"stops": entries})
    assert (verdict.figure, verdict.is_met) == (figure, is_met)


@pytest.mark.parametrize(("last", "is_met"), [(109.0, True), (91.0, True), (111.0, False), (89.0, False)])
def test_memory_may_neither_grow_nor_shrink_much(last: float, is_met: bool) -> None:
    (verdict,) = judged({}, {"long": {"megabytes": {"1000000": 100.0, "9000000": 70.0, "10000000": last}}})
    assert verdict.is_met is is_met


def test_a_target_without_a_figure_is_neither_met_nor_missed() -> None:
    assert judged({}) == []
    assert all(verdict.figure is None for verdict in verdicts(lambda section, broker: {}, {}))
