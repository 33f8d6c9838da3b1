"""The chapter on live traffic."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from benchmarks.report.live import live
from benchmarks.report.results import Results
from metroline.app.compare.figures import NOT_MEASURED
from tests.unit.benchmarks.report.live_results import costs, live_row


def chapter(folder: Path, entries: dict[str, dict[str, Any]]) -> str:
    results = Results(folder / "results")
    for name, entry in entries.items():
        results.write("live", "kafka", name, entry)
    (folder / "charts").mkdir()
    text = "\n".join(live(results, "kafka", "Apache Kafka", folder / "charts"))
    return text.replace(NOT_MEASURED, "none")


def test_a_rate_has_cpu_and_latency_and_a_system_that_fell_behind_has_its_share(tmp_path: Path) -> None:
    behind = {"share": 0.41, "cpu": 0.97, "p50": 5_000.0, "p99": 9_000.0}
    text = chapter(
        tmp_path,
        {
            "signpost/chained/12": live_row(700.0, r100={}, r1000=behind),
            "raw_confluent/12": live_row(9_000.0, r100={"cpu": 0.05}, r1000={}),
        },
    )
    ours = (
        "| Metroline `signpost`, chained | 10 %, 5 / 20 | **41 %**, 97 %, 5,000 / 9,000 | none | none | none | 700/s |"
    )
    assert ours in text
    assert (
        "| Metroline `signpost`, chained | 2.00 | none | none | none | none | 3.00 | none | none | none | none |"
        in text
    )
    assert "live-highest-rate-kafka.svg" in text
    assert (tmp_path / "charts" / "live-highest-rate-kafka.svg").read_text().count("<rect") == 3


def test_each_number_of_partitions_has_a_table(tmp_path: Path) -> None:
    text = chapter(tmp_path, {"raw_confluent/4": live_row(1.0, r100={}), "raw_confluent/12": live_row(0.0, r100={})})
    assert text.index("### 12 partitions") < text.index("### 4 partitions")
    assert "below 100/s" in text


def test_further_rows_have_tables_of_their_own(tmp_path: Path) -> None:
    many = live_row(r100={})
    many["rounds"][0]["idle_cpu"] = 0.017
    text = chapter(
        tmp_path,
        {
            "signpost/chained/backlog": costs(0.123),
            "signpost/chained/packed": costs(0.045),
            "signpost/hops/waiting": live_row(r100={}, r120={"share": 0.5}),
            "signpost/chained/many": many,
        },
    )
    assert "| Metroline `signpost`, chained | 0.123 | 10,000 | 0.045 |" in text
    assert "| Metroline `signpost`, every hop on the bus | 10 %, 5 / 20 | **50 %**, 10 %, 5 / 20 |" in text
    assert "| Metroline `signpost`, chained, 64 partitions | 1.7 % | 10 %, 5 / 20 |" in text


def test_what_failed_is_named(tmp_path: Path) -> None:
    failed = live_row(r100={})
    failed["rounds"][0]["failed"] = "the process ended"
    text = chapter(tmp_path, {"raw_confluent/12": failed, "plain_faust/12": {"rounds": [], "left_out": "not here"}})
    assert "- raw_confluent/12, after the rates shown: the process ended" in text
    assert "- plain_faust/12: not here" in text


def test_nothing_is_said_where_nothing_was_measured(tmp_path: Path) -> None:
    assert chapter(tmp_path, {}) == ""
