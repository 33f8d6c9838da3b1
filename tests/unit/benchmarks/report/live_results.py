"""Results of the section `live` for tests."""

from __future__ import annotations

from typing import Any


def live_row(highest: float | None = None, **rates: dict[str, float]) -> dict[str, Any]:
    """Return an entry with figures by rate (`r100`, `r1000`, …); each rate is held unless it says otherwise."""
    held = {"share": 1.0, "p50": 5.0, "p99": 20.0, "cpu": 0.1, "messages_per_record": 3.0}
    figures: dict[str, Any] = {"rates": {rate[1:]: held | own for rate, own in rates.items()}}
    return {"rounds": [figures if highest is None else figures | {"highest": highest}]}


def costs(cpu_per_10k: float) -> dict[str, Any]:
    """Return an entry of a full backlog."""
    return {"rounds": [{"cpu_per_10k": cpu_per_10k, "records_per_second": 10_000.0}]}
