"""Iterates over many items without blocking the worker's event loop, which also carries its records."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable
from typing import TypeVar

from msgspec import Struct, ValidationError, convert

from metroline.agents.tables.line_table import LineTable

T = TypeVar("T")
Shape = TypeVar("Shape", bound=Struct)

BATCH = 32
"""Items between two turns of other tasks."""


async def cooperatively(items: Iterable[T]) -> AsyncIterator[T]:
    """Yield the items; after every batch, other tasks have a turn."""
    for number, item in enumerate(items, 1):
        yield item
        if number % BATCH == 0:
            await asyncio.sleep(0)


async def entries_of(
    table: LineTable, partitions: frozenset[int], shape: type[Shape]
) -> AsyncIterator[tuple[str, Shape]]:
    """Yield the entries of these partitions, without those of another shape, which no worker of this line wrote."""
    async for key, value in cooperatively(table.entries(partitions)):
        try:
            entry = convert(value, shape)
        except ValidationError:
            continue
        yield key, entry
