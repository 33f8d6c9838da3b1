"""Lets other tasks of the event loop run while there is much to do."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

SLICE_SECONDS = 0.02
"""Time after which a task that always has work yields to other tasks."""


class Pacer:
    """Yields to other tasks about every `SLICE_SECONDS`. Tasks that take turns share one."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        """`clock` returns seconds since any moment."""
        self._clock = clock
        self._yielded_at = clock()

    async def pause(self) -> None:
        """Yield if the last time is long enough ago."""
        if self._clock() - self._yielded_at > SLICE_SECONDS:
            await asyncio.sleep(0)
            self._yielded_at = self._clock()
