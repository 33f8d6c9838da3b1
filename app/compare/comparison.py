"""The result of a comparison: one run for each strategy, and where they differ."""

from __future__ import annotations

from typing import Any

from msgspec import Struct, to_builtins

from metroline.routing.outcome import Ending

Route = tuple[str, ...]
"""The stops that a record visited, in order, without the source."""


def route_name(route: Route) -> str:
    """Return a route as the result writes it: `rating>archive`."""
    return ">".join(route)


def route_named(name: str) -> Route:
    """Return the route with this name; the empty name belongs to records that visited no stop."""
    return tuple(name.split(">")) if name else ()


class Latency(Struct, frozen=True):
    """Percentiles of the time from sending a record to writing it as delivered, in milliseconds."""

    p50: float
    p99: float


class Run(Struct, frozen=True):
    """The figures of one strategy. Counts are distinct records; a hop is one record written to the bus once."""

    strategy: str
    sent: int
    delivered: int
    dropped: int
    dead: int
    duplicates: int
    records_per_second: float
    latency_ms: Latency | None
    hops_per_record: float
    bus_messages_per_record: float
    bus_bytes_per_record: float
    cpu_seconds_per_10k: float
    routes: dict[str, dict[Ending, int]]
    """Records by the name of their route and by ending, the most travelled route first."""

    @property
    def outcomes(self) -> dict[Ending, int]:
        return {Ending.DELIVERED: self.delivered, Ending.DROPPED: self.dropped, Ending.DEAD: self.dead}

    @property
    def adds_up(self) -> bool:
        return self.sent == sum(self.outcomes.values())


class Comparison(Struct, frozen=True):
    """All runs. Each difference is one line: a record that fared differently, or a sum that does not add up."""

    line: str
    records: int
    broker: str
    runs: list[Run]
    same_outcome: bool
    differences: list[str]

    def as_json(self) -> dict[str, Any]:
        """Return the JSON data that `metroline compare --json` writes."""
        return dict(to_builtins(self))
