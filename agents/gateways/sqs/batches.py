"""Calls for up to ten messages that gather for a moment, with the entries that failed made again."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

Item = TypeVar("Item")

MOST = 10
"""Messages in a call."""

GATHER_SECONDS = 0.1
"""Time for which an item waits for others to share a call."""


class Batches(Generic[Item]):
    """Gathers items for calls of ten."""

    def __init__(self, make: Callable[[Sequence[Item]], Awaitable[None]]) -> None:
        """`make` makes a call, and again what is needed; it raises nothing."""
        self._make = make
        self._items: list[Item] = []
        self._timer: asyncio.TimerHandle | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    def add(self, items: Sequence[Item]) -> None:
        """Add items; a call is made as soon as there are ten, or after a moment."""
        self._items += items
        while len(self._items) >= MOST:
            self._send(MOST)
        if self._items and self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(GATHER_SECONDS, self._send_rest)

    async def finish(self, seconds: float) -> None:
        """Make the calls for all items that are there, and wait for all calls, for at most this time."""
        self._send_rest()
        if self._tasks:
            _, late = await asyncio.wait(self._tasks, timeout=seconds)
            for task in late:
                task.cancel()

    def _send_rest(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._items:
            self._send(len(self._items))

    def _send(self, count: int) -> None:
        taken, self._items = self._items[:count], self._items[count:]
        task = asyncio.create_task(self._run(taken))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _run(self, items: Sequence[Item]) -> None:
        await self._make(items)
