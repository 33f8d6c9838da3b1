"""The figures on the page of benchmarks are those of the committed results."""

from __future__ import annotations

import re
from pathlib import Path

PROJECT = Path(__file__).parents[3]
PAGE = (PROJECT / "docs" / "benchmarks.md").read_text("utf-8")
RESULTS = (PROJECT / "benchmarks" / "RESULTS.md").read_text("utf-8")
[KAFKA] = re.findall(r"^## The line metrobus, Apache Kafka\n(.*?)^## ", RESULTS, re.MULTILINE | re.DOTALL)
COSTS, LATENCIES = KAFKA.split("latency p50")


def rows(table: str) -> list[list[str]]:
    """Return the cells of each row of the tables in a text."""
    return [[cell.strip() for cell in line.strip("| ").split("|")] for line in table.splitlines() if line[:2] == "| "]


def figure(cell: str) -> str:
    """Return the figure in a cell, without the range over the rounds."""
    return cell.split(" (")[0]


def test_the_summary_repeats_the_results_on_apache_kafka() -> None:
    costs = {row[0]: row for row in rows(COSTS)}
    latencies = {row[0]: row for row in rows(LATENCIES)}
    expected = [
        [
            name,
            figure(costs[name][2]),
            figure(costs[name][4]),
            f"{latencies[name][1]} / {latencies[name][2]} ms",
            f"{costs[name][7]} MB",
        ]
        for name in costs.keys() & latencies.keys()
    ]
    assert len(expected) > 4
    assert sorted(row for row in rows(PAGE) if row[0] in costs) == sorted(expected)
