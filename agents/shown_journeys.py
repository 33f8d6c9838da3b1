"""Puts some of the settled journeys where pages and commands find them, from time to time.

A few go into the table of the latest ones, and more, up to a rate, to the topic `journeys`. Both are for people: no
record waits for them, and what a worker has not written when it ends is missing.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence

from msgspec import Struct

from metroline.agents.delivery.bus import Bus
from metroline.agents.tables.latest import RecentEntries
from metroline.agents.tables.owned_table import OwnedTable
from metroline.routing.journeys.kept_journeys import KEPT_PER_SECOND, EndedSegment, chosen, messages
from metroline.routing.messages.record_ids import Origin
from metroline.routing.messages.segment import Segment
from metroline.routing.outcome import Ending

SHOW_SECONDS = 1.0
"""Time between two entries of a partition in the table. People read it."""

MAX_SHOWN = 3
"""Number of the latest journeys of an origin that are put into the table at once."""


class Ended(Struct, frozen=True, eq=False):
    """Records whose journeys ended: their strategy, their origin, and when, in seconds since the epoch."""

    strategy: str
    origin: Origin
    segment: Segment
    at: float

    @property
    def has_failed(self) -> bool:
        """True for dead letters. Their own topic keeps all of them."""
        outcome = self.segment.outcome
        return outcome is None or outcome.ending is Ending.DEAD


class ShownJourneys:
    """The journeys that are yet to be shown. The first after a rest is shown at once."""

    def __init__(
        self,
        bus: Bus,
        outcomes: OwnedTable,
        journeys: RecentEntries,
        clock: Callable[[], float],
        kept_per_second: int = KEPT_PER_SECOND,
    ) -> None:
        """Show journeys of the partitions that this worker owns in the table `outcomes`.

        `kept_per_second` is the number of journeys that are written to their topic in a second, at most; 0 for none.
        """
        self.bus = bus
        self.outcomes = outcomes
        self.journeys = journeys
        self.clock = clock
        self.kept_per_second = kept_per_second
        self._waiting: dict[Origin, deque[dict[str, object]]] = {}
        self._kept: dict[tuple[str, Origin], list[EndedSegment]] = {}
        self._counts: dict[tuple[str, Origin], int] = {}
        """The number of journeys that ended and that no message has counted."""
        self._left = float(kept_per_second)
        """The number of journeys that may be kept now."""
        self._kept_at = clock()
        self._shown_at = 0.0
        self._task: asyncio.Task[None] | None = None

    def reset(self) -> None:
        """Forget what is yet to be shown. Called when partitions are reassigned."""
        self._waiting.clear()
        self._kept.clear()
        self._counts.clear()
        self.journeys.reset()

    def keep(self, ended: Sequence[Ended]) -> None:
        """Take some journeys for their topic, all of them as long as there are few. `add` has them written."""
        if not self.kept_per_second:
            return
        now = self.clock()
        self._left = min(self.kept_per_second, self._left + max(0.0, now - self._kept_at) * self.kept_per_second)
        self._kept_at = now
        good = [one for one in ended if not one.has_failed]
        for one, places in zip(good, chosen([one.segment for one in good], int(self._left)), strict=True):
            key = one.strategy, one.origin
            self._counts[key] = self._counts.get(key, 0) + len(one.segment.ids)
            if places:
                self._left -= len(places)
                self._kept.setdefault(key, []).append(EndedSegment(one.segment.part(places), one.at))

    async def add(self, origin: Origin, journeys: list[dict[str, object]]) -> None:
        """Show journeys now or, if some were shown lately, a little later."""
        if not journeys:
            return
        self._waiting.setdefault(origin, deque(maxlen=MAX_SHOWN)).extend(journeys)
        if self._task is not None and not self._task.done():
            return
        rest = min(SHOW_SECONDS, self._shown_at + SHOW_SECONDS - self.clock())
        if rest > 0:
            self._task = asyncio.create_task(self._show_later(rest))
        else:
            await self._show()

    async def _show_later(self, seconds: float) -> None:
        await asyncio.sleep(seconds)
        await self._show()

    async def _show(self) -> None:
        self._shown_at = self.clock()
        waiting, self._waiting = self._waiting, {}
        kept, self._kept = self._kept, {}
        for origin, journeys in waiting.items():
            if origin.partition in self.outcomes.epochs:
                await self.journeys.put(self.bus, origin.partition, list(journeys))
        for (strategy, origin), ended in kept.items():
            if origin.partition in self.outcomes.epochs:
                count = self._counts.pop((strategy, origin), 0)
                for message in messages(strategy, origin, ended, count):
                    await self.bus.offer(self.bus.topics.journeys, origin.partition, message.encode())
