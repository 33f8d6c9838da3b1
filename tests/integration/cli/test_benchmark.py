"""The benchmark's harness on the embedded broker: what is right counts, what is changed or lost does not."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks.report.results import Results
from benchmarks.run import Wanted, run_section
from benchmarks.systems import trials
from benchmarks.systems.brokers import Place
from benchmarks.systems.expected import Expected, Work, make_work
from benchmarks.systems.systems import SYSTEMS, Strategy, System
from tests.support.brokers import Broker

CONFLUENT = next(system for system in SYSTEMS if system.name == "raw_confluent")


@pytest.fixture
def place(embedded_broker: Broker, tmp_path: Path) -> Iterator[Place]:
    with ExitStack() as resources:
        yield Place(embedded_broker, tmp_path, resources)


@pytest.mark.parametrize("system", [Strategy("signpost"), CONFLUENT], ids=lambda system: system.name)
def test_figures_of_a_run_whose_result_is_right(place: Place, system: System) -> None:
    figures = trials.throughput(system, place, make_work(300), counts_bus=True)
    assert figures["records"] == 300
    assert figures["records_per_second"] > 0
    assert 0 < figures["cpu_per_10k"] < 60
    assert 20 < figures["peak_megabytes"] < 1_000
    assert figures["bytes_per_record"] > 3 * 1_200


def changed(expected: Expected) -> Expected:
    """As if a record had come with another content."""
    return replace(expected, contents=expected.contents | {next(iter(expected.contents)): b"else"})


def lost(expected: Expected) -> Expected:
    """As if a record more should have come."""
    return replace(expected, contents=expected.contents | {"gone": b"what it was"})


def miscounted(expected: Expected) -> Expected:
    """As if one record less should have been dropped."""
    dropped = expected.dropped.copy()
    dropped["no contact point"] -= 1
    return replace(expected, dropped=dropped)


@pytest.mark.parametrize(
    ("system", "spoil", "said"),
    [
        (CONFLUENT, changed, "1 records with another content"),
        (CONFLUENT, lost, "252 of 253 records delivered"),
        (CONFLUENT, miscounted, "98 records are said to be dropped, not 97"),
        (Strategy("signpost"), miscounted, "98 records are said to be dropped, not 97"),
    ],
    ids=["changed", "lost", "miscounted", "miscounted-strategy"],
)
def test_no_figures_of_a_run_whose_result_is_wrong(
    place: Place, monkeypatch: pytest.MonkeyPatch, system: System, spoil: Callable[[Expected], Expected], said: str
) -> None:
    waits_in_vain = spoil is lost
    monkeypatch.setattr(trials, "STALL", 20.0 if waits_in_vain else 240.0)
    work: Work = make_work(300)
    with pytest.raises(trials.TrialFailed, match=said):
        trials.throughput(system, place, replace(work, expected=spoil(work.expected)))


def test_what_fails_is_named_in_the_results_and_the_others_go_on(place: Place, tmp_path: Path) -> None:
    results = Results(tmp_path / "results")
    wanted = Wanted(100, 1, [CONFLUENT])
    (measurement,) = wanted.measurements("throughput")
    absent = replace(measurement, name="absent", missing="it is not installed")
    run_section([absent, measurement], place, results, "make bench")
    found = results.read("throughput", "embedded")
    assert found["absent"]["left_out"] == "it is not installed"
    assert [figures["records"] for figures in found["raw_confluent"]["rounds"]] == [100]


def test_nothing_is_lost_and_outcomes_add_up_when_a_worker_is_killed(place: Place) -> None:
    figures = trials.killed(Strategy("signpost"), place, make_work(1_000))
    assert (figures["lost"], figures["outcomes"]) == (0, 1_050)
    assert figures["first_record_seconds"] > 0
