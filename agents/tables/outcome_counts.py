"""The counts in the table `outcomes`. Entries that did not change are not decoded again."""

from __future__ import annotations

from collections.abc import Collection, Iterator

from msgspec import Struct, json

from metroline.agents.tables.line_table import LineTable


class _Counts(Struct, frozen=True):
    """The part of an entry that is read here."""

    counts: list[tuple[str, str, str, int]]
    """Last stop, ending, reason, and the number of records."""
    lost: list[tuple[int, int]] = []
    """The first and the last offset within the block of messages that were deleted before they were read."""


class BlockCount(Struct, frozen=True):
    """The number of settled records in a block, by ending."""

    partition: int
    origin: str
    number: int
    by_ending: dict[str, int]
    lost: int = 0
    """Messages that were deleted before they were read."""


class OutcomeCounts:
    """Reads the number of records with an outcome from the entries of a table."""

    def __init__(self, table: LineTable) -> None:
        self._table = table
        self._known: dict[bytes, tuple[bytes, BlockCount]] = {}

    def blocks(self, partitions: Collection[int]) -> Iterator[BlockCount]:
        """Yield the counts of every block of these partitions."""
        owned = tuple(f"{partition}/".encode() for partition in partitions)
        entries = {key: entry for key, entry in list(self._table.data.items()) if entry and key.startswith(owned)}
        self._known = {key: self._counted(key, encoded) for key, encoded in entries.items()}
        return (block for _, block in self._known.values())

    def _counted(self, key: bytes, encoded: bytes) -> tuple[bytes, BlockCount]:
        known = self._known.get(key)
        if known is not None and known[0] is encoded:
            return known
        by_ending: dict[str, int] = {}
        stored = json.decode(encoded, type=_Counts)
        for _, ending, _, count in stored.counts:
            by_ending[ending] = by_ending.get(ending, 0) + count
        partition, _, rest = key.decode().partition("/")
        origin, _, number = rest.rpartition("/")
        return encoded, BlockCount(
            int(partition), origin, int(number), by_ending, sum(last - first + 1 for first, last in stored.lost)
        )
