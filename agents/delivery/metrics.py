"""Counts the messages that this worker wrote to the bus or handed on in memory, and the time that it spent."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from metroline.agents.delivery.journey_metrics import JourneyMetrics

QUIET_SECONDS = 5.0
"""Time without a source message after which a worker is not behind."""


@dataclass(slots=True)
class Traffic:
    """Number of messages, records and bytes sent to one address."""

    messages: int = 0
    records: int = 0
    bytes: int = 0


@dataclass(slots=True)
class Chained:
    """Number of packs and records that went on to one address in memory."""

    packs: int = 0
    records: int = 0


@dataclass(slots=True)
class WorkerMetrics:
    """Traffic by address, settled records by ending, and the times of the worker's first and last activity."""

    traffic: dict[str, Traffic] = field(default_factory=dict)
    """Messages written to the bus, by address."""
    chained: dict[str, Chained] = field(default_factory=dict)
    """Packs that went on in memory instead, by address."""
    settled: Counter[str] = field(default_factory=Counter)
    """Number of records that this worker settled, by ending."""
    journeys: JourneyMetrics = field(default_factory=JourneyMetrics)
    entered: int = 0
    """Number of source messages that this worker took."""
    behind: float = 0.0
    """Seconds for which the oldest message of the latest look at the source had waited there."""
    _looked_at: float = 0.0
    waiting: Callable[[], float] = field(default=lambda: 0.0)
    """Returns the age of the oldest message that was fetched from the source and not taken yet, in seconds."""
    first: tuple[float, float] | None = None
    """Time of the first activity, in seconds since the epoch, and the CPU seconds of the process until then."""
    _worked_at: float = 0.0
    _read_at: float = 0.0
    _cpu: float = 0.0

    def sent(self, address: str, records: int, size: int, messages: int = 1) -> None:
        """Count messages with this number of records and this size in bytes."""
        traffic = self.traffic.get(address)
        if traffic is None:
            traffic = self.traffic[address] = Traffic()
        traffic.messages += messages
        traffic.records += records
        traffic.bytes += size
        self.tick()

    def entering(self, messages: int, waited: float) -> None:
        """Count source messages; `waited` is the time for which the oldest of them waited, in seconds."""
        self.entered += messages
        self.behind, self._looked_at = max(0.0, waited), time.time()
        self.tick()

    def handed_on(self, address: str, records: int) -> None:
        """Count a pack with this number of records that goes on in memory."""
        chained = self.chained.get(address)
        if chained is None:
            chained = self.chained[address] = Chained()
        chained.packs += 1
        chained.records += records
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

    @property
    def behind_now(self) -> float:
        """Return for how long the oldest message of the source has waited; 0 if nothing came lately and none waits."""
        return max(self.behind if self._has_looked else 0.0, self.waiting())

    @property
    def is_behind_known(self) -> bool:
        """Return whether messages of the source were seen lately, so that it is known for how long they wait."""
        return self._has_looked or self.waiting() > 0

    @property
    def _has_looked(self) -> bool:
        return time.time() - self._looked_at < QUIET_SECONDS

    def as_json(self) -> dict[str, Any]:
        traffic = {
            address: {"messages": sent.messages, "records": sent.records, "bytes": sent.bytes}
            for address, sent in sorted(self.traffic.items())
        }
        chained = {
            address: {"packs": one.packs, "records": one.records} for address, one in sorted(self.chained.items())
        }
        return {
            "traffic": traffic,
            "chained": chained,
            "entered": self.entered,
            "settled": dict(self.settled),
            "behind": self.behind_now,
            "first": self.first,
            "last": self.last,
        }
