"""Figures of a trial count if the result is right, and do not count if a record is changed or lost."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from benchmarks.systems import trial, trials
from benchmarks.systems.brokers import Testbed
from benchmarks.systems.expected import Expected, Workload, make_workload
from benchmarks.systems.strategy import Strategy
from benchmarks.systems.system import System
from benchmarks.systems.systems import SYSTEMS
from benchmarks.systems.trial import TrialFailed

CONFLUENT = next(system for system in SYSTEMS if system.name == "raw_confluent")


@pytest.mark.parametrize("system", [Strategy("signpost"), CONFLUENT], ids=lambda system: system.name)
def test_a_run_with_the_right_result_has_figures(testbed: Testbed, system: System) -> None:
    figures = trials.throughput(system, testbed, make_workload(3_000), counts_bus=True)  # some ticks of CPU time
    assert figures["records"] == 3_000
    assert figures["records_per_second"] > 0
    assert 0 < figures["cpu_per_10k"] < 60
    assert 20 < figures["peak_megabytes"] < 1_000
    assert figures["bytes_per_record"] > 0.7 * 1_200, "most of them are delivered"


def changed(expected: Expected) -> Expected:
    """Expect different content for one record."""
    return replace(expected, contents=expected.contents | {next(iter(expected.contents)): b"else"})


def lost(expected: Expected) -> Expected:
    """Expect one record more than was sent."""
    return replace(expected, contents=expected.contents | {"gone": b"what it was"})


def miscounted(expected: Expected) -> Expected:
    """Expect one dropped record less."""
    dropped = expected.dropped.copy()
    dropped["no contact point"] -= 1
    return replace(expected, dropped=dropped)


@pytest.mark.parametrize(
    ("system", "spoil", "said"),
    [
        (CONFLUENT, changed, "1 records with different content"),
        (CONFLUENT, lost, "252 of 253 records delivered"),
        (CONFLUENT, miscounted, "98 records are reported as dropped, not 97"),
        (Strategy("signpost"), miscounted, "98 records are reported as dropped, not 97"),
    ],
    ids=["changed", "lost", "miscounted", "miscounted-strategy"],
)
def test_a_run_with_a_wrong_result_has_no_figures(
    testbed: Testbed, monkeypatch: pytest.MonkeyPatch, system: System, spoil: Callable[[Expected], Expected], said: str
) -> None:
    if spoil is lost:  # only this trial waits for a record that never comes
        monkeypatch.setattr(trial, "STALL_SECONDS", 30.0)
    workload: Workload = make_workload(300)
    with pytest.raises(TrialFailed, match=said):
        trials.throughput(system, testbed, replace(workload, expected=spoil(workload.expected)))


def test_nothing_is_lost_and_outcomes_add_up_when_a_worker_is_killed(testbed: Testbed) -> None:
    figures = trials.killed(Strategy("signpost"), testbed, make_workload(1_000))
    assert (figures["lost"], figures["outcomes"]) == (0, 1_050)
    assert figures["first_record_seconds"] > 0
