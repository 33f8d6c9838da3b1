"""The verdicts on live traffic."""

from __future__ import annotations

from typing import Any

import pytest

from benchmarks.report.live_targets import live_verdicts
from benchmarks.report.results import Entries
from benchmarks.report.verdict import Verdict
from tests.unit.benchmarks.report.live_results import costs, live_row


def verdict(words: str, entries: Entries, broker: str = "kafka") -> Verdict:
    """Return the only verdict whose target has these words."""
    found = live_verdicts(lambda section, where: entries if (section, where) == ("live", broker) else {})
    (one,) = [each for each in found if words in each.target and each.broker == broker]
    return one


def both(ours: dict[str, Any], raw: dict[str, Any], way: str = "chained") -> Entries:
    return {f"signpost/{way}/12": ours, "raw_confluent/12": raw}


@pytest.mark.parametrize(("cpu", "is_met"), [(0.15, True), (0.16, False)])
def test_cpu_is_judged_by_raw_confluent_in_the_same_run(cpu: float, is_met: bool) -> None:
    entries = both(live_row(r100={"cpu": cpu}), live_row(r100={"cpu": 0.1}))
    assert verdict("chained: CPU at 100 records/s, times raw", entries).is_met is is_met


def test_every_hop_on_the_bus_may_cost_more_than_chaining() -> None:
    entries = both(live_row(r100={"cpu": 0.29}), live_row(r100={"cpu": 0.1}), "hops")
    assert verdict("every hop on the bus: CPU at 100 records/s, times raw", entries).is_met is True


def test_a_row_that_fell_behind_at_a_lower_rate_misses_the_targets_of_the_higher_one() -> None:
    entries = both(live_row(r100={"share": 0.9}), live_row(r100={}, r1000={}))
    for words in ("1,000 records/s, delivered in time", "chained: 1,000 records/s, p99", "CPU at 1,000 records/s"):
        found = next(
            each
            for each in live_verdicts(lambda section, where: entries if where == "kafka" else {})
            if words in each.target and each.broker == "kafka" and "signpost`, chained" in each.target
        )
        assert found.is_met is False
        assert found.figure is not None
        assert "fell behind" in found.figure


def test_a_share_that_was_late_is_shown() -> None:
    found = verdict("chained: 100 records/s, delivered in time", both(live_row(r100={"share": 0.9}), live_row()))
    assert (found.figure, found.is_met) == ("90.0 %", False)


@pytest.mark.parametrize(("highest", "met"), [(18_000, (True, True, True)), (11_000, (False, False, False))])
def test_the_highest_rate_is_judged_by_itself_the_best_peer_and_the_loop_without_hops(
    highest: float, met: tuple[bool, ...]
) -> None:
    entries = {
        "signpost/chained/12": live_row(highest),
        "raw_confluent/12": live_row(9_000.0),
        "quix_streams/12": live_row(12_000.0),
        "one_loop/12": live_row(22_000.0),
    }
    found = live_verdicts(lambda section, where: entries if where == "kafka" else {})
    ours = [each for each in found if "signpost`, chained: highest rate" in each.target]
    assert tuple(each.is_met for each in ours) == met
    assert ours[1].figure == f"{highest / 12_000:.2f}", "the loop without hops is no peer"


def test_a_conductor_is_judged_by_signpost() -> None:
    entries = {"signpost/chained/backlog": costs(0.1), "conductor/chained/backlog": costs(0.13)}
    found = verdict("`conductor`, chained: full backlog", entries)
    assert (found.figure, found.is_met) == ("1.30", False)


def test_packs_of_records_are_judged_by_single_ones_of_raw_confluent() -> None:
    entries = {"signpost/chained/packed": costs(0.07), "raw_confluent/backlog": costs(0.2)}
    assert verdict("49 records per source message", entries).is_met is True


def test_many_partitions_are_judged_by_twelve_and_an_idle_worker_by_itself() -> None:
    many = live_row(r100={"cpu": 0.14})
    many["rounds"][0]["idle_cpu"] = 0.021
    entries = {"signpost/chained/idle": live_row(r100={"cpu": 0.1}), "signpost/chained/many": many}
    assert verdict("chained: CPU at 100 records/s, 64 partitions", entries).is_met is False
    assert verdict("chained: CPU without records", entries).figure == "2.1 %"


def test_the_embedded_broker_has_limits_of_its_own() -> None:
    entries = {"signpost/chained/4": live_row(r1000={"p99": 149.0})}
    assert verdict("chained: 1,000 records/s, p99", entries, "embedded").is_met is True


def test_a_target_without_a_figure_is_neither_met_nor_missed() -> None:
    assert all(each.is_met is None and each.figure is None for each in live_verdicts(lambda section, broker: {}))
