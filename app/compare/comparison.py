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


FEW_SECONDS = 0.5


class Pace(Struct, frozen=True):
    """The pace of a strategy while records came at a steady rate."""

    rate: float
    """Records sent per second."""
    share: float
    """Share of the records that had an outcome within a short time after the last one was sent."""
    behind_seconds: float
    """The number of records without an outcome at that time, divided by the rate."""
    growing: bool
    """True if the strategy fell further behind in the second half of the time."""

    @property
    def kept_up(self) -> bool:
        """Return True if all records had an outcome in time, or all but a few that may wait for a further attempt."""
        return self.share >= 1 or (self.behind_seconds <= FEW_SECONDS and not self.growing)

    def in_words(self) -> str:
        """Return whether the strategy kept up or how far behind it was, without its name."""
        if self.kept_up:
            return f"kept up with {self.rate:,g} records/s"
        trend = "growing" if self.growing else "not growing"
        return (
            f"did not keep up with {self.rate:,g} records/s: {100 * self.share:.0f} % of the records had an outcome"
            f" in time; behind by {self.behind_seconds:.1f} s, {trend}"
        )


class Run(Struct, frozen=True):
    """The figures of one strategy. Counts are distinct records; a hop is one record that went from stop to stop."""

    strategy: str
    chaining: bool
    """True if stops of one worker handed records on in memory; False if every hop went through the bus."""
    sent: int
    delivered: int
    dropped: int
    dead: int
    duplicates: int
    records_per_second: float
    latency_ms: Latency | None
    """The latency at the rate of `pace`, of the records that were delivered in time."""
    pace: Pace | None
    """The pace of the strategy at `--rate`; under `--rate max`, at the highest rate that it held."""
    highest_rate: float | None
    """The highest rate that was held, under `--rate max`; 0 if none was."""
    hops_per_record: float
    bus_messages_per_record: float
    bus_bytes_per_record: float
    cpu_seconds_per_10k: float
    routes: dict[str, dict[Ending, int]]
    """Records by the name of their route and by ending, the most travelled route first."""
    ends: dict[str, int] = {}
    """Delivered records by the name of their end, without those of the default end."""

    @property
    def name(self) -> str:
        """Return the name of the strategy as tables show it."""
        return f"{self.strategy}, chained" if self.chaining else self.strategy

    @property
    def outcomes(self) -> dict[Ending, int]:
        return {Ending.DELIVERED: self.delivered, Ending.DROPPED: self.dropped, Ending.DEAD: self.dead}

    @property
    def adds_up(self) -> bool:
        return self.sent == sum(self.outcomes.values())


class Comparison(Struct, frozen=True):
    """All runs. Each difference is one line: records that fared differently, or a sum that does not add up."""

    line: str
    records: int
    broker: str
    runs: list[Run]
    same_outcome: bool
    differences: list[str]
    unsteady: list[str] = []
    """Differences that come from services which are not deterministic, and not from the strategies, one line each."""

    @property
    def strategies(self) -> int:
        """Return the number of strategies; with `--chaining`, each has two runs."""
        return len({run.strategy for run in self.runs})

    def findings(self) -> list[str]:
        """Return a sentence for each run that did not keep up, or held no rate."""
        found = [f"{run.name} {run.pace.in_words()}" for run in self.runs if run.pace and not run.pace.kept_up]
        return found + [f"{run.name} held no rate that was tried" for run in self.runs if run.highest_rate == 0]

    def as_json(self) -> dict[str, Any]:
        """Return the JSON data that `metroline compare --json` writes."""
        return dict(to_builtins(self))
