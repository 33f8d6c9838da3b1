"""The choices of the live section: rates, seconds per rate, and partitions on each broker."""

from __future__ import annotations

from dataclasses import dataclass

RATES = (100.0, 1_000.0, 3_000.0, 6_000.0, 12_000.0)
SECONDS = 6.0
PARTITIONS = {"embedded": (4,), "kafka": (4, 12)}
MAIN_PARTITIONS = {"embedded": 4, "kafka": 12}
"""The partitions that the targets are set for, and with which the further rows are measured."""
MANY_PARTITIONS = 64


@dataclass(frozen=True, slots=True)
class LiveSettings:
    """Rates in records per second, seconds per rate, and partitions (None: the broker's own)."""

    rates: tuple[float, ...] = RATES
    seconds: float = SECONDS
    partitions: tuple[int, ...] | None = None

    def partitions_on(self, broker: str) -> tuple[int, ...]:
        return self.partitions or PARTITIONS[broker]
