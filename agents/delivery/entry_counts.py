"""Counts the records that entered the line, partition by partition, as exactly as their offsets are committed."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Collection, Iterable

import orjson
from aiokafka import TopicPartition
from msgspec import Struct

from metroline.routing.journeys.settlement import BLOCK_OFFSETS, offset_of
from metroline.routing.messages.record_ids import RecordId


class EntryCount(Struct, frozen=True):
    """The number of records that entered in a partition of the source before its committed offset."""

    records: int
    since: int
    """The offset from which they are counted, the first one of a block: records of an older version are not counted."""

    @property
    def note(self) -> str:
        """The count as it is kept beside the committed offset, so that both or neither survive a crash."""
        return orjson.dumps({"records": self.records, "since": self.since}).decode()

    @classmethod
    def of_note(cls, note: str | None) -> EntryCount | None:
        """Return the count in a note; None if there is none. Clients of librdkafka end a note with a zero byte."""
        try:
            found = orjson.loads((note or "").rstrip("\0"))
            return cls(int(found["records"]), int(found["since"]))
        except (LookupError, TypeError, ValueError):
            return None


class EntryCounts:
    """The counts of the partitions that this worker reads, each as of every offset that may be committed next."""

    def __init__(self) -> None:
        self._counts: dict[TopicPartition, EntryCount] = {}
        """The count as of the offset that was committed last."""
        self._ahead: dict[TopicPartition, deque[tuple[int, EntryCount]]] = {}
        """The counts as of the offsets after each batch that is not committed."""

    def begin(self, partition: TopicPartition, committed: int | None, note: str | None) -> None:
        """Begin to count where a partition was left. Without a note, counting begins at the next block."""
        since = -(-(committed or 0) // BLOCK_OFFSETS) * BLOCK_OFFSETS
        self._counts[partition] = EntryCount.of_note(note) or EntryCount(0, since)
        self._ahead[partition] = deque()

    def add(
        self, partition: TopicPartition, next_offset: int, ids: Callable[[], Iterable[RecordId]], count: int
    ) -> None:
        """Count the records of a batch that ends before an offset; `ids` returns their ids."""
        ahead = self._ahead.get(partition)
        if ahead is None:
            return
        latest = ahead[-1][1] if ahead else self._counts[partition]
        if next_offset - latest.since < BLOCK_OFFSETS:  # some may be older than the first that is counted
            count = sum(offset_of(record) >= latest.since for record in ids())
        ahead.append((next_offset, EntryCount(latest.records + count, latest.since)))

    def entered(self) -> dict[int, EntryCount]:
        """Return the count of each partition as of its last batch."""
        return {tp.partition: ahead[-1][1] if ahead else self._counts[tp] for tp, ahead in list(self._ahead.items())}

    def note(self, partition: TopicPartition, offset: int) -> str | None:
        """Return the note to commit together with this offset; None if the partition is not counted."""
        ahead = self._ahead.get(partition)
        if ahead is None:
            return None
        while ahead and ahead[0][0] <= offset:
            self._counts[partition] = ahead.popleft()[1]
        return self._counts[partition].note

    def forget(self, partitions: Collection[TopicPartition]) -> None:
        """Leave partitions to their new owners."""
        for partition in partitions:
            self._counts.pop(partition, None)
            self._ahead.pop(partition, None)
