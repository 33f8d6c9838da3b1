"""A table of the latest entries, bounded: per partition, the newest entry takes the place of the oldest."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from metroline.agents.delivery.bus import Bus, Confirmation
from metroline.agents.tables.line_table import LineTable

SIZE = 50
"""Envelopes per partition of which entries are kept."""


class RecentEntries:
    """Keeps what the last envelopes brought; its place in the ring is found again after a restart."""

    def __init__(self, table: LineTable) -> None:
        self.table = table
        self._next: dict[int, int] = {}

    def forget(self) -> None:
        """Called when partitions change hands."""
        self._next.clear()

    async def put(self, bus: Bus, partition: int, entries: list[dict[str, object]]) -> Confirmation:
        """Takes the entries of one envelope."""
        number = self._next.get(partition)
        if number is None:
            number = 1 + max((value["number"] for _, value in self.table.entries(frozenset({partition}))), default=-1)
        self._next[partition] = number + 1
        key = f"{partition}/{number % SIZE}".encode()
        return await self.table.put(bus, partition, key, {"number": number, "entries": entries})

    def latest(self, partitions: frozenset[int]) -> Iterator[dict[str, Any]]:
        """All entries of these partitions, in no order."""
        for _, value in self.table.entries(partitions):
            yield from value["entries"]
