"""A strategy whose workers are joined and warm, while records arrive at a steady rate."""

from __future__ import annotations

import asyncio
import math
import statistics
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import cycle, islice

from metroline.agents.kafka.cluster import Cluster
from metroline.agents.kafka.topics import Topics
from metroline.app.compare.comparison import Latency, Pace
from metroline.app.compare.evidence import read_delivery_times
from metroline.app.compare.paced_source import PacedSource
from metroline.app.compare.plan import Progress, RunFailed
from metroline.app.compare.strategy_workers import StrategyWorkers

GRACE_SECONDS = 2.0
"""Time after the last record was due within which it must have its outcome."""
PATIENCE_SECONDS = 20.0
"""Further time for records that are retried, so that the latency includes them."""
POLL_SECONDS = 0.2
WARM_UP_RATE = 100.0
WARM_UP_MESSAGES, WARM_UP_PER_PARTITION = 40, 4
STALL_SECONDS = 60.0
"""A run fails if no record of the warm-up has an outcome after this time."""
REST_SECONDS = 10.0
"""Time that the warm-up waits for its last records: one that is retried may take longer."""

Messages = Sequence[tuple[bytes, int]]
"""Source messages, each with the number of its records. They begin again when all were sent."""


@dataclass(slots=True)
class RateRun:
    """The running workers, the source that they read, and the messages to send."""

    name: str
    workers: StrategyWorkers
    cluster: Cluster
    topics: Topics
    source: PacedSource
    messages: Messages
    progress: Progress

    async def warm_up(self) -> None:
        """Wait until the group is joined: until records come through from every partition."""
        count = max(WARM_UP_MESSAGES, WARM_UP_PER_PARTITION * self.source.partitions)
        messages = list(islice(cycle(self.messages), count))
        wanted = sum(records for _, records in messages)
        await self._send(messages, WARM_UP_RATE, time.time())
        if not await self._until(1, time.time() + STALL_SECONDS):
            raise RunFailed(
                f"{self.name}: no record had an outcome after {STALL_SECONDS:g} s; {self.workers.last_words()}"
            )
        await self._until(wanted, time.time() + REST_SECONDS)

    async def at(self, rate: float, seconds: float) -> tuple[Pace, Latency | None]:
        """Send records for `seconds`; return how the workers kept up, and the latency of what was delivered."""
        step = f"{self.name} at {rate:g}/s"
        messages = list(self._messages(max(2, round(rate * seconds))))
        total = sum(records for _, records in messages)
        before = await self.workers.settled()
        started_at = time.time()
        sending = asyncio.create_task(self._send(messages, rate, started_at))
        behind: list[float] = []
        while not sending.done():
            await asyncio.wait([sending], timeout=POLL_SECONDS)
            settled = await self.workers.settled() - before
            due = min(total, rate * (time.time() - started_at))
            behind.append((due - settled) / rate)
            self.progress(step, settled, total)
        await sending
        settled = await self._until(before + total, started_at + total / rate + GRACE_SECONDS) - before
        pace = pace_of(rate, settled / total, (total - settled) / rate, behind)
        if pace.kept_up and settled < total:
            await self._until(before + total, time.time() + PATIENCE_SECONDS)
        self.progress(step, total, total)
        return pace, await self._latency()

    async def _send(self, messages: Messages, rate: float, started_at: float) -> None:
        try:
            await asyncio.to_thread(self.source.send, messages, rate, started_at)
        except asyncio.CancelledError:
            self.source.is_over.set()
            raise

    async def _until(self, wanted: int, deadline: float) -> int:
        """Wait until so many records have an outcome, or until the deadline, in epoch seconds; return the number."""
        while True:
            settled = await self.workers.settled()
            if settled >= wanted or time.time() > deadline:
                return settled
            await asyncio.sleep(POLL_SECONDS / 2)

    def _messages(self, records: int) -> Iterator[tuple[bytes, int]]:
        """Yield messages with this number of records, or a few more if they come packed."""
        for message, count in cycle(self.messages):
            if records <= 0:
                return
            records -= count
            yield message, count

    async def _latency(self) -> Latency | None:
        """Return the latency of what was sent last; None if fewer than two of its records were delivered."""
        waits = []
        for (partition, record), at in (await read_delivery_times(self.cluster, self.topics)).items():
            due = self.source.due.get((partition, record if isinstance(record, int) else record[0]))
            if due is not None:
                waits.append(1000 * (at - due))
        if len(waits) < 2:
            return None
        percentiles = statistics.quantiles(waits, n=100, method="inclusive")
        return Latency(round(percentiles[49], 1), round(percentiles[98], 1))


GROWTH_RATIO, GROWTH_SECONDS = 1.2, 0.2
"""A delay grows if it is larger by both at the end than halfway."""


def pace_of(rate: float, share: float, behind_seconds: float, behind: Sequence[float]) -> Pace:
    """Return how workers kept up; `behind` has the seconds that they were behind at equal intervals while sending."""
    halfway, end = (behind[len(behind) // 2], behind[-1]) if behind else (0.0, 0.0)
    growing = end > GROWTH_RATIO * halfway and end > halfway + GROWTH_SECONDS
    return Pace(rate, min(1.0, math.floor(10_000 * share) / 10_000), max(0.0, round(behind_seconds, 2)), growing)
