"""What this worker wrote to the bus and what that cost it."""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import dataclass, field
from typing import Any


@dataclass(slots=True)
class Traffic:
    """Messages, records and bytes that were sent to one address."""

    messages: int = 0
    records: int = 0
    bytes: int = 0


@dataclass(slots=True)
class WorkerMetrics:
    """Counts by address, and the worker's clocks since it first did something with a record."""

    traffic: dict[str, Traffic] = field(default_factory=dict)
    settled: Counter[str] = field(default_factory=Counter)
    """Records by ending, of those that this worker settled."""
    first: tuple[float, float] | None = None
    """Seconds since the epoch and CPU-seconds of the process."""
    _worked_at: float = 0.0
    _read_at: float = 0.0
    _cpu: float = 0.0

    def sent(self, address: str, records: int, size: int) -> None:
        traffic = self.traffic.setdefault(address, Traffic())
        traffic.messages += 1
        traffic.records += records
        traffic.bytes += size
        self.tick()

    def tick(self) -> None:
        """Notes that the worker is at work."""
        self._worked_at = time.time()
        if self.first is None:
            self.first = (self._worked_at, time.process_time())

    @property
    def last(self) -> tuple[float, float] | None:
        """The clocks when it last did something; the CPU time is read when asked for: that is a call to the system."""
        if self._worked_at != self._read_at:
            self._read_at, self._cpu = self._worked_at, time.process_time()
        return None if self.first is None else (self._read_at, self._cpu)

    def as_json(self) -> dict[str, Any]:
        traffic = {
            address: {"messages": sent.messages, "records": sent.records, "bytes": sent.bytes}
            for address, sent in sorted(self.traffic.items())
        }
        return {"traffic": traffic, "settled": dict(self.settled), "first": self.first, "last": self.last}
