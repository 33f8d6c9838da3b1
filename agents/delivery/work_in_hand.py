"""Counts what this worker was handed of the bus and has not handled yet, and how long it waited there."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress

RECENT_SECONDS = 1.0
"""Time for which a wait counts as the present one."""

EMPTY_SECONDS = 0.05
"""Time without any batch after which a wait no longer counts: whatever had waited is handled."""

STRETCH_SECONDS = 60.0
"""Stretch of time of which the shortest wait is remembered; that of the stretch before it counts as well."""


class WorkInHand:
    """The batches of some topics that the agents of this worker were handed and have not handled.

    The topics are those whose messages wait for this worker alone: of plain functions, of routers and of the arrivals.
    Messages for an async, blocking or ordered service may wait for the service.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        """`clock` returns seconds since the epoch."""
        self._clock = clock
        self._topics: set[str] = set()
        self._count = 0
        self._idle = asyncio.Event()
        self._idle.set()
        self._shortest: float | None = None
        self._shortest_before: float | None = None
        """The shortest waits in this stretch of time and in the one before it."""
        self._stretch_began = 0.0
        self._wait = 0.0
        self._noted_at = 0.0
        self._empty_since = 0.0

    def watch(self, topic: str) -> None:
        """Count the batches of a topic from now on."""
        self._topics.add(topic)

    def watches(self, topic: str) -> bool:
        """Return whether the batches of a topic are counted."""
        return topic in self._topics

    def add(self, topic: str) -> None:
        """Count a batch that is handed to an agent."""
        if topic in self._topics:
            self._count += 1
            self._idle.clear()

    def done(self, topic: str) -> None:
        """Stop counting a batch."""
        if topic in self._topics:
            self._count = max(0, self._count - 1)
            if not self._count:
                self._rest()

    def reset(self) -> None:
        """Forget all batches: their partitions were revoked."""
        self._count = 0
        self._rest()

    def _rest(self) -> None:
        self._idle.set()
        self._empty_since = self._clock()

    @property
    def count(self) -> int:
        """The number of batches that were handed over and are not handled."""
        return self._count

    async def wait_until_idle(self, seconds: float) -> None:
        """Return once all batches are handled, or after `seconds`."""
        if not self._count:
            return
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._idle.wait()

    def waited(self, topic: str, written_at: float) -> None:
        """Note that a message is taken up now that was written at this time, in seconds since the epoch.

        The shortest wait of the last minutes is subtracted: the clock of the sender may be another one, and no message
        is read as soon as it is written. It is not remembered for longer, since clocks are put right at times.
        """
        if topic not in self._topics:
            return
        now = self._clock()
        if not 0 <= now - self._stretch_began <= STRETCH_SECONDS:
            self._shortest_before, self._shortest, self._stretch_began = self._shortest, None, now
        wait = now - written_at
        self._shortest = wait if self._shortest is None else min(wait, self._shortest)
        usual = self._shortest if self._shortest_before is None else min(self._shortest, self._shortest_before)
        excess = wait - usual
        if excess > self._wait or not 0 <= now - self._noted_at <= RECENT_SECONDS:
            self._wait, self._noted_at = excess, now

    @property
    def behind(self) -> float:
        """Return by how many seconds messages of the bus waited longer than usual in the last second.

        0 once it has had nothing in hand for `EMPTY_SECONDS`: no on-ramp needs to wait for it any longer.
        """
        now = self._clock()
        is_empty = not self._count and not 0 <= now - self._empty_since <= EMPTY_SECONDS
        return self._wait if not is_empty and 0 <= now - self._noted_at <= RECENT_SECONDS else 0.0
