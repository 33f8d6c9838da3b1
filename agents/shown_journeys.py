"""Puts some of the settled journeys into the table of the latest ones, from time to time."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable

from metroline.agents.delivery.bus import Bus
from metroline.agents.tables.latest import RecentEntries
from metroline.agents.tables.owned_table import OwnedTable
from metroline.routing.messages.record_ids import Origin

SHOW_SECONDS = 1.0
"""Time between two entries of a partition in the table. People read it."""

MAX_SHOWN = 3
"""Number of the latest journeys of an origin that are put into the table at once."""


class ShownJourneys:
    """The journeys that are yet to be shown. The first after a rest is shown at once."""

    def __init__(self, bus: Bus, outcomes: OwnedTable, journeys: RecentEntries, clock: Callable[[], float]) -> None:
        """Show journeys of the partitions that this worker owns in the table `outcomes`."""
        self.bus = bus
        self.outcomes = outcomes
        self.journeys = journeys
        self.clock = clock
        self._waiting: dict[Origin, deque[dict[str, object]]] = {}
        self._shown_at = 0.0
        self._task: asyncio.Task[None] | None = None

    def reset(self) -> None:
        """Forget what is yet to be shown. Called when partitions are reassigned."""
        self._waiting.clear()
        self.journeys.reset()

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
        for origin, journeys in waiting.items():
            if origin.partition in self.outcomes.epochs:
                await self.journeys.put(self.bus, origin.partition, list(journeys))
