"""Reading much without holding the worker's event loop, on which its records travel, for long."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable
from typing import TypeVar

T = TypeVar("T")

AT_ONCE = 32
"""Entries that are decoded before others have a turn."""


async def spread(items: Iterable[T]) -> AsyncIterator[T]:
    """The same items, with a pause for others now and then."""
    for place, item in enumerate(items, 1):
        yield item
        if place % AT_ONCE == 0:
            await asyncio.sleep(0)
