"""The figures on the page of benchmarks are those of the committed results."""

from __future__ import annotations

import re
from pathlib import Path

PROJECT = Path(__file__).parents[3]
README = (PROJECT / "README.md").read_text("utf-8")
PAGE = (PROJECT / "docs" / "benchmarks.md").read_text("utf-8")
LIVE, BACKLOG = PAGE.split("### Through a full backlog")
RESULTS = (PROJECT / "benchmarks" / "RESULTS.md").read_text("utf-8")
[KAFKA] = re.findall(r"^## The line metrobus, Apache Kafka\n(.*?)^## ", RESULTS, re.MULTILINE | re.DOTALL)
[ARRIVING] = re.findall(
    r"^## Live traffic, Apache Kafka\n.*?^### 12 partitions\n(.*?)^CPU as a multiple", RESULTS, re.MULTILINE | re.DOTALL
)
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
    assert sorted(row for row in rows(BACKLOG) if row[0] in costs) == sorted(expected)


def live(cell: str) -> str:
    """Return a cell with CPU and latency as the pages show it. In bold, it has a share that is too low."""
    if cell.startswith("**"):
        return "falls behind"
    return f"{cell} ms" if " / " in cell else cell


def test_the_readme_and_the_summary_repeat_the_results_on_live_traffic() -> None:
    measured = {row[0].removesuffix(", chained"): row for row in rows(ARRIVING)[1:]}
    expected = {name: [name, live(row[1]), live(row[2]), live(row[4]), row[6]] for name, row in measured.items()}
    shown = [row for row in rows(LIVE) if row[0] in expected]
    assert len(shown) > 8
    assert shown == [expected[row[0]] for row in shown]
    in_readme = [row for row in rows(README) if row[0] in expected]  # some of them
    assert len(in_readme) > 3
    assert in_readme == [row for row in shown if row in in_readme]
