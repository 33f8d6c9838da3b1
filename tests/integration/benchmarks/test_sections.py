"""The sections of a run."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from benchmarks.report.results import Results
from benchmarks.systems.brokers import Testbed
from benchmarks.systems.sections import Plan, run_section
from benchmarks.systems.systems import SYSTEMS


def test_a_failed_system_is_named_in_the_results_and_the_others_go_on(testbed: Testbed, tmp_path: Path) -> None:
    confluent = next(system for system in SYSTEMS if system.name == "raw_confluent")
    results = Results(tmp_path / "results")
    plan = Plan(100, 1, [confluent])
    (measurement,) = plan.measurements("throughput", testbed.broker.name)
    absent = replace(measurement, name="absent", unavailable="it is not installed")
    run_section([absent, measurement], testbed, results, "make bench")
    found = results.read("throughput", "embedded")
    assert found["absent"]["left_out"] == "it is not installed"
    assert [figures["records"] for figures in found["raw_confluent"]["rounds"]] == [100]
