"""The rendered report."""

from __future__ import annotations

import re
from pathlib import Path

from benchmarks.report.report import render
from benchmarks.report.results import Results
from benchmarks.systems.system import ROOT


def test_a_report_shows_the_results_and_names_the_systems_left_out(tmp_path: Path) -> None:
    results = Results(tmp_path / "results")
    entry = {"at": "today", "commit": "abc", "command": "make it so"}
    one = {"records": 10, "cpu_per_10k": 0.2, "records_per_second": 5_000, "peak_megabytes": 90}
    results.write("throughput", "kafka", "signpost", entry | {"rounds": [one, one | {"cpu_per_10k": 0.4}]})
    results.write("throughput", "kafka", "quix_streams", entry | {"rounds": [], "left_out": "it is not here"})
    text = render(results, tmp_path).read_text("utf-8")
    assert "| Metroline `signpost` | 10 | 0.30 (0.20 to 0.40) |" in text
    assert "- Quix Streams, throughput: it is not here" in text
    assert "| 0.300 | **not met** |" in text
    assert "(charts/cpu-per-10k-kafka.svg)" in text
    assert (tmp_path / "charts" / "cpu-per-10k-kafka.svg").read_text().count("<rect") == 2


def test_the_committed_report_is_rendered_from_the_committed_results(tmp_path: Path) -> None:
    committed = ROOT / "benchmarks"
    rendered = render(Results(committed / "results"), tmp_path)
    assert rendered.read_text("utf-8") == (committed / "RESULTS.md").read_text("utf-8")
    charts = re.findall(r"\(charts/([^)]+)\)", rendered.read_text("utf-8"))
    assert charts
    for chart in charts:
        assert (tmp_path / "charts" / chart).read_text() == (committed / "charts" / chart).read_text()
