"""The folder of raw results."""

from __future__ import annotations

from pathlib import Path

from benchmarks.report.machine import kafka_version
from benchmarks.report.results import Results


def test_a_new_entry_replaces_that_of_its_system_and_no_other(tmp_path: Path) -> None:
    results = Results(tmp_path / "results")
    results.write("latency", "kafka", "signpost", {"rounds": [{"p50": 1}]})
    results.write("latency", "kafka", "map_maker", {"rounds": [{"p50": 2}]})
    results.write("latency", "kafka", "signpost", {"rounds": [{"p50": 3}]})
    again = Results(tmp_path / "results")
    assert again.read("latency", "kafka") == {
        "signpost": {"rounds": [{"p50": 3}]},
        "map_maker": {"rounds": [{"p50": 2}]},
    }
    assert again.read("latency", "embedded") == {}


def test_the_version_of_apache_kafka_is_known() -> None:
    version = kafka_version()
    assert version is not None
    assert version[0].isdigit()
