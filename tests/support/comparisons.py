"""Results of comparisons, for tests of their report."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime

from msgspec.structs import replace

from metroline.app.compare.comparison import Comparison, Latency, Run
from metroline.app.compare.report import render
from metroline.routing.outcome import Ending
from metroline.routing.rules.network import Network
from metroline.routing.rules.table import RulesTable
from metroline.routing.strategies import STRATEGIES

NETWORK = Network.of(
    RulesTable.parse("""
[[rules]]
after = "source"
to = "rating"
[[rules]]
after = "rating"
when = "stars < 2"
drop = "too bad"
[[rules]]
after = "rating"
to = "archive"
""")
)
COMMAND = "metroline compare --line lines/reviews --records 100000 --html r.html"
WHEN = datetime(2026, 5, 6, 7, 8, tzinfo=UTC)
ENVIRONMENT = {"machine": "a machine with 8 CPUs", "Python": "3.11.9"}


def outcomes(delivered: int = 0, dropped: int = 0, dead: int = 0) -> dict[Ending, int]:
    return {Ending.DELIVERED: delivered, Ending.DROPPED: dropped, Ending.DEAD: dead}


ROUTES = {
    "rating>archive": outcomes(delivered=91_234),
    "rating": outcomes(dropped=8_000, dead=66),
    "": outcomes(dead=700),
}


def run(strategy: str, number: int = 0, *, chaining: bool = False) -> Run:
    """Return the figures of one strategy; `number` varies the figures in which strategies may differ."""
    return Run(
        strategy,
        chaining,
        sent=100_000,
        delivered=91_234,
        dropped=8_000,
        dead=766,
        duplicates=40 + number,
        records_per_second=20_001.4 + number,
        latency_ms=Latency(11.1 + number, 91.1 + number),
        pace=None,
        highest_rate=None,
        hops_per_record=3.25 + number,
        bus_messages_per_record=0.0125 + number,
        bus_bytes_per_record=4_321.0 + number,
        cpu_seconds_per_10k=0.77 + number,
        routes=dict(ROUTES),
    )


def comparison(*runs: Run) -> Comparison:
    """Return a comparison of these runs, or of all strategies, without differences."""
    compared = list(runs) or [run(strategy, number) for number, strategy in enumerate(STRATEGIES)]
    return Comparison("reviews", 100_000, "embedded", compared, same_outcome=True, differences=[])


def differing(found: Comparison, *differences: str) -> Comparison:
    return replace(found, same_outcome=False, differences=list(differences))


def report(
    found: Comparison,
    network: Network = NETWORK,
    command: str = COMMAND,
    environment: Mapping[str, str] = ENVIRONMENT,
) -> str:
    return render(found, network, command, WHEN, environment)


def drawings(page: str) -> list[str]:
    """Return the SVGs of a report, charts first."""
    return re.findall(r"<svg.*?</svg>", page, re.DOTALL)
