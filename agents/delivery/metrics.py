"""Counts the messages that this worker wrote to the bus, and the time that it spent."""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import dataclass, field
from typing import Any


@dataclass(slots=True)
class Traffic:
    """Number of messages, records and bytes sent to one address."""

    messages: int = 0
    records: int = 0
    bytes: int = 0


@dataclass(slots=True)
class WorkerMetrics:
    """Traffic by address, settled records by ending, and the times of the worker's first and last activity."""

    traffic: dict[str, Traffic] = field(default_factory=dict)
    settled: Counter[str] = field(default_factory=Counter)
    """Number of records that this worker settled, by ending."""
    first: tuple[float, float] | None = None
    """Time of the first activity, in seconds since the epoch, and the CPU seconds of the process until then."""
    _worked_at: float = 0.0
    _read_at: float = 0.0
    _cpu: float = 0.0

    def sent(self, address: str, records: int, size: int) -> None:
        """Count a message with this number of records and this size in bytes."""
        traffic = self.traffic.setdefault(address, Traffic())
        traffic.messages += 1
        traffic.records += records
        traffic.bytes += size
        self.tick()

    def tick(self) -> None:
        """Note that the worker is active now."""
        self._worked_at = time.time()
        if self.first is None:
            self.first = (self._worked_at, time.process_time())

    @property
    def last(self) -> tuple[float, float] | None:
        """Time of the last activity, in seconds since the epoch, and the CPU seconds of the process.

        The CPU time is read here and not in `tick`, since reading it is a system call.
        """
        if self._worked_at != self._read_at:
            self._read_at, self._cpu = self._worked_at, time.process_time()
        return None if self.first is None else (self._read_at, self._cpu)

    def as_json(self) -> dict[str, Any]:
        traffic = {
            address: {"messages": sent.messages, "records": sent.records, "bytes": sent.bytes}
            for address, sent in sorted(self.traffic.items())
        }
        return {"traffic": traffic, "settled": dict(self.settled), "first": self.first, "last": self.last}
