"""Records pushed at a steady rate, whatever happens to the broker, and the outcome that each must have."""

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
"""Every message whose number is a multiple of this holds several records."""

LINES = 3


def expected(number: int) -> Ending:
    """Return the outcome of the record with this `n`, whatever its route and the number of its attempts."""
    if number % 7 == 0:
        return Ending.DROPPED
    return Ending.DEAD if number % 11 == 0 else Ending.DELIVERED


def messages() -> Iterator[bytes]:
    """Yield source messages endlessly; each record has a number of its own."""
    numbers = count()
    for message in count():
        lines = LINES if message % PACKED == 0 else 1
        yield b"\n".join(orjson.dumps({"n": next(numbers)}) for _ in range(lines))


@dataclass
class Pusher:
    """Sends messages until it is asked to stop."""

    depot: Depot
    rate: float
    """Messages per second."""
    sent: list[Awaitable[Any]] = field(default_factory=list)
    _ends: asyncio.Event = field(default_factory=asyncio.Event)

    async def run(self) -> int:
        """Send until asked to stop. Return the number of unconfirmed messages, some of which may have been written."""
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
