"""Bounded tables of recent entries: in each partition, the newest entry replaces the oldest."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from metroline.agents.delivery.bus import Bus
from metroline.agents.kafka.producer import Confirmation
from metroline.agents.tables.line_table import LineTable

SLOTS = 50
"""Entries that are kept per partition; each holds what one envelope brought."""


class RecentEntries:
    """A ring of slots in each partition. The next slot is found from the table after a restart."""

    def __init__(self, table: LineTable) -> None:
        self.table = table
        self._next: dict[int, int] = {}

    def reset(self) -> None:
        """Forget the next slots, because partitions were reassigned."""
        self._next.clear()

    async def put(self, bus: Bus, partition: int, entries: list[dict[str, object]]) -> Confirmation:
        """Put the entries of one envelope into the partition's next slot."""
        number = self._next.get(partition)
        if number is None:
            number = 1 + max((value["number"] for _, value in self.table.entries(frozenset({partition}))), default=-1)
        self._next[partition] = number + 1
        key = f"{partition}/{number % SLOTS}".encode()
        return await self.table.put(bus, partition, key, {"number": number, "entries": entries})

    def latest(self, partitions: frozenset[int]) -> Iterator[dict[str, Any]]:
        """Yield all entries of these partitions, in no particular order."""
        for _, value in self.table.entries(partitions):
            yield from value["entries"]
