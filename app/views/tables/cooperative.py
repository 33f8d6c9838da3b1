"""Iterates over many items without blocking the worker's event loop, which also carries its records."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable
from typing import TypeVar

T = TypeVar("T")

BATCH = 32
"""Items between two turns of other tasks."""


async def cooperatively(items: Iterable[T]) -> AsyncIterator[T]:
    """Yield the items; after every batch, other tasks have a turn."""
    for number, item in enumerate(items, 1):
        yield item
        if number % BATCH == 0:
            await asyncio.sleep(0)
