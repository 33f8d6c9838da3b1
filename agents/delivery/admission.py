"""Decides when the on-ramp takes more from the source, so that work in progress is bounded (as in CONWIP).

What the line cannot take at once waits in the source, where the next look finds more of it: packs grow with the load by
themselves. A record that arrives while the line rests leaves at once.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

from metroline.agents.delivery.work_in_hand import WorkInHand

REST = 2.0
"""Seconds of rest after a look that emptied the source, for each second of CPU that the line spent on it.

Each pack costs the same, whatever it holds, so a line that looks less often packs more and costs less. It may spend a
third of a core on small packs.
"""

MAX_REST_SECONDS = 0.04
"""Longest rest."""

RECENT_SECONDS = 0.2
"""Time between two looks up to which CPU in between counts as spent on the first one."""

MAX_YIELD_SECONDS = 0.25
"""Longest time for which the on-ramp lets the agents of its worker go first: others feed them, too."""

BEHIND_SECONDS = 0.5
"""Wait of messages at some worker, in seconds, above which no on-ramp of the line takes more."""

CHECK_SECONDS = 0.05
"""Time between two looks at the announcements while a worker is behind."""


class Admission:
    """Lets an on-ramp take more from the source, or not yet."""

    def __init__(
        self,
        work: WorkInHand,
        behind: Callable[[], float],
        *,
        clock: Callable[[], float] = time.monotonic,
        cpu: Callable[[], float] = time.process_time,
    ) -> None:
        """`behind` returns the longest wait of messages at any worker of the line, in seconds."""
        self._work = work
        self._behind = behind
        self._clock = clock
        self._cpu = cpu
        self._looked: tuple[float, float] | None = None
        """Time and CPU time of the last look that emptied the source; None if it left something."""
        self._rested: tuple[float, float] | None = None
        """Time and CPU time at the beginning of the rest after the last look that found something."""
        self._spent_resting = 0.0
        """CPU that the line spent on the look before while the on-ramp rested: confirmations, outcomes and counts."""
        self.held_back = 0.0
        """Seconds for which the on-ramp was held back in all, since the line was behind."""

    async def before_look(self, when_held: Callable[[], None] = lambda: None) -> None:
        """Return when the on-ramp may look at the source again. Call `when_held` first if it is held back."""
        await self._work.wait_until_idle(MAX_YIELD_SECONDS)
        await self._rest()
        began = self._clock()
        if self.holds_back:
            when_held()
        while self.holds_back:  # noqa: ASYNC110 - others are behind, and say so on a topic
            await asyncio.sleep(CHECK_SECONDS)
        self.held_back += self._clock() - began

    @property
    def holds_back(self) -> bool:
        """True while some worker of the line is behind."""
        return self._behind() > BEHIND_SECONDS

    def looked(self, *, emptied: bool) -> None:
        """Note a look that found something; `emptied` if it left nothing in the source."""
        now, cpu = self._clock(), self._cpu()
        rested_at, rested_from = self._rested or (0.0, cpu)
        self._spent_resting = cpu - rested_from if now - rested_at < RECENT_SECONDS else 0.0
        self._rested = None
        self._looked = (now, cpu) if emptied else None

    async def _rest(self) -> None:
        if self._looked is None:
            return
        at, cpu = self._looked
        now, cpu_now = self._clock(), self._cpu()
        self._looked, self._rested = None, (now, cpu_now)
        spent = cpu_now - cpu + self._spent_resting
        rest = min(MAX_REST_SECONDS, (1 + REST) * spent) - (now - at)
        if rest > 0:
            await asyncio.sleep(rest)
