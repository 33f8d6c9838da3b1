"""What a comparison found: one run a strategy, and whether all of them did the same."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from metroline.routing.outcome import Ending

Route = tuple[str, ...]
"""The stops that were visited, in order, without the source."""


@dataclass(slots=True)
class Run:
    """The figures of one strategy. Counts are distinct records; a hop is one record written to the bus once."""

    strategy: str
    sent: int
    delivered: int = 0
    dropped: int = 0
    dead: int = 0
    duplicates: int = 0
    records_per_second: float = 0.0
    latency_ms: dict[str, float] | None = None
    hops_per_record: float = 0.0
    bus_messages_per_record: float = 0.0
    bus_bytes_per_record: float = 0.0
    cpu_seconds_per_10k: float = 0.0
    routes: dict[Route, Counter[Ending]] = field(default_factory=dict)

    @property
    def adds_up(self) -> bool:
        return self.sent == self.delivered + self.dropped + self.dead

    def as_json(self) -> dict[str, Any]:
        """As `--json` writes it."""
        figures = {name: getattr(self, name) for name in self.__slots__ if name != "routes"}
        routes = {
            ">".join(route): {ending.value: counts[ending] for ending in Ending}
            for route, counts in self.routes.items()
        }
        return figures | {"routes": routes}


@dataclass(slots=True)
class Comparison:
    """All runs; `differences` names records that went another way, and sums that do not add up, one line each."""

    line: str
    records: int
    broker: str
    runs: list[Run] = field(default_factory=list)
    differences: list[str] = field(default_factory=list)

    @property
    def same_outcome(self) -> bool:
        return not self.differences

    def as_json(self) -> dict[str, Any]:
        """As `--json` writes it."""
        return {
            "line": self.line,
            "records": self.records,
            "broker": self.broker,
            "runs": [run.as_json() for run in self.runs],
            "same_outcome": self.same_outcome,
            "differences": self.differences,
        }
