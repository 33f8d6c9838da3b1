"""Comparisons as their topic has them, for tests."""

from __future__ import annotations

from typing import Any

from msgspec.structs import replace

from metroline.app.inputs.recent_records import RecordsUsed
from metroline.app.operations.comparison_runs import KeptRun, RunState, fitted
from tests.support.comparisons import NETWORK, comparison

FIRST, SECOND = "0123456789", "abcdef0123"
RUNNING = KeptRun(
    id=FIRST,
    state=RunState.RUNNING,
    by="ada",
    at=1_000.0,
    updated=1_000.0,
    started_from="page",
    worker="http://w:6066",
    command="metroline compare --line orders --recent 100",
    strategies=["signpost", "conductor"],
    chaining=False,
    rate="",
    asked=100,
    step="signpost",
    done=40,
    total=100,
)


def done(name: str = FIRST, **changes: Any) -> KeptRun:
    """Return a comparison with results."""
    used = RecordsUsed(100_000, 2_000_000, "the topic orders.source", 5.0, 6.0, {"0": (7, 9)})
    results = fitted(comparison().as_json())
    run = replace(RUNNING, id=name, state=RunState.DONE, records=used, comparison=results, table=NETWORK.table.text)
    return replace(run, **{"rules_version": 3, "code": "c0de", **changes})
