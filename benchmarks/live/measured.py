"""The figures of a system at one rate, from its deliveries."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable
from dataclasses import dataclass, field

from benchmarks.live.stream import Stream, unstamped
from benchmarks.systems.expected import Record, digest
from benchmarks.systems.trial import TrialFailed
from benchmarks.systems.trials import Figures
from metroline.app.compare.highest_rate import HELD_P99_MS


@dataclass(slots=True)
class Measured:
    """The records that were delivered of those with these numbers."""

    stream: Stream
    numbers: range
    seen: dict[int, float] = field(default_factory=dict)
    """Latency of each delivered record by its number, in milliseconds."""
    repeated: int = 0

    def add(self, records: Iterable[Record], seen_at: float) -> None:
        """Take delivered records; raise `TrialFailed` if one has another content than it should.

        Records with other numbers, such as those before the measurement, do not count.
        """
        for record in records:
            number, due, rest = unstamped(record)
            if digest(rest) != self.stream.result(number):
                raise TrialFailed(f"record {number} was delivered with different content, or should not have been")
            if number not in self.numbers:
                continue
            if number in self.seen:
                self.repeated += 1
            else:
                self.seen[number] = 1000 * (seen_at - due)

    @property
    def is_complete(self) -> bool:
        return len(self.seen) >= self.stream.delivered_of(self.numbers)

    def figures(self) -> Figures:
        """Return the share delivered and the latency of what was delivered, in milliseconds."""
        expected = self.stream.delivered_of(self.numbers)
        share = len(self.seen) / expected if expected else 1.0
        found: Figures = {"share": _rounded_down(share), "repeated": self.repeated}
        if len(self.seen) > 1:
            percentiles = statistics.quantiles(self.seen.values(), n=100, method="inclusive")
            found |= {
                "p50": round(percentiles[49], 1),
                "p99": round(percentiles[98], 1),
                "max": round(max(self.seen.values()), 1),
            }
        return found


def is_complete(figures: Figures) -> bool:
    """Return True if every record was delivered in time."""
    return bool(figures["share"] >= 1)


def is_held(figures: Figures) -> bool:
    """Return True if the rate is sustained: every record was delivered in time, with a p99 of at most 500 ms."""
    return is_complete(figures) and figures.get("p99", 0.0) <= HELD_P99_MS


def _rounded_down(share: float) -> float:
    """Return a share with four decimals; only all records make 1."""
    return math.floor(10_000 * share) / 10_000
