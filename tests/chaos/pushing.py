"""Records that flow in at a steady rate, whatever happens to the broker, and what shall become of each."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Iterator
from dataclasses import dataclass, field
from itertools import count
from typing import Any

import orjson

from metroline.routing.outcome import Ending
from tests.support.depot import Depot

PACKED = 10
"""Each so many-th message holds several records."""

LINES = 3


def expected(number: int) -> Ending:
    """The outcome of the record with this `n`, on whatever way it goes and however often it is tried."""
    if number % 7 == 0:
        return Ending.DROPPED
    return Ending.DEAD if number % 11 == 0 else Ending.DELIVERED


def messages() -> Iterator[bytes]:
    """Source messages without end, whose records have numbers of their own."""
    numbers = count()
    for message in count():
        lines = LINES if message % PACKED == 0 else 1
        yield b"\n".join(orjson.dumps({"n": next(numbers)}) for _ in range(lines))


@dataclass
class Pusher:
    """Sends until told to stop."""

    depot: Depot
    rate: float
    """Messages a second."""
    sent: list[Awaitable[Any]] = field(default_factory=list)
    _ends: asyncio.Event = field(default_factory=asyncio.Event)

    async def run(self) -> int:
        """Returns how many messages the broker did not confirm; some of them may be there all the same."""
        async with self.depot.cluster.producer(linger_ms=5) as producer:
            started = time.monotonic()
            for number, message in enumerate(messages()):
                if self._ends.is_set():
                    break
                partition = number % self.depot.partitions
                self.sent.append(await producer.send(self.depot.topics.source, message, partition=partition))
                await asyncio.sleep(max(0.0, started + number / self.rate - time.monotonic()))
            answers = await asyncio.gather(*self.sent, return_exceptions=True)
        return sum(isinstance(answer, BaseException) for answer in answers)

    def stop(self) -> None:
        self._ends.set()
