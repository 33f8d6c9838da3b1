"""Gaps between the offsets that were read: messages may have been deleted there, or there never were any."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Iterator, Sequence

from aiokafka import TopicPartition
from confluent_kafka import Message
from msgspec import Struct

from metroline.agents.kafka.producer import Confirmation


class Gap(Struct, frozen=True, eq=False):
    """Offsets of a partition that were passed over."""

    partition: TopicPartition
    first: int
    end: int
    """The offset of the message that was read next."""
    settled: Confirmation
    """Done once it is known what was in the gap, and that is recorded."""


class Gaps:
    """The gaps that a worker met and that nobody has looked into yet. No offset beyond them may be committed."""

    def __init__(self) -> None:
        self._open: dict[TopicPartition, list[Gap]] = {}
        self.found = asyncio.Event()
        """Set when there are open gaps."""

    def note(self, partition: TopicPartition, first: int, end: int) -> Confirmation:
        """Note a gap; return a confirmation that is done once an offset beyond it may be committed."""
        settled: Confirmation = asyncio.get_running_loop().create_future()
        self._open.setdefault(partition, []).append(Gap(partition, first, end, settled))
        self.found.set()
        return settled

    def settle(self, gap: Gap) -> None:
        """Close a gap: what was in it is recorded."""
        own = self._open.get(gap.partition, [])
        if gap in own:
            own.remove(gap)
        if not own:
            self._open.pop(gap.partition, None)
        if not gap.settled.done():
            gap.settled.set_result(None)

    def is_open(self, partition: TopicPartition) -> bool:
        """Return whether a partition has an open gap."""
        return partition in self._open

    def open(self) -> list[Gap]:
        """Return the open gaps, those of each partition in order."""
        self.found.clear()
        return [gap for own in self._open.values() for gap in own]

    def forget(self, partitions: Collection[TopicPartition]) -> None:
        """Leave the gaps of partitions to their new owners, who meet them again."""
        for partition in partitions:
            self._open.pop(partition, None)


def gaps_in(expected: int, messages: Sequence[Message]) -> Iterator[tuple[int, int]]:
    """Yield the first offset of each gap before or between messages of a partition, and the end of the gap.

    `expected` is the offset that was to be read next; negative if it is not known.
    """
    first, last = messages[0].offset() or 0, messages[-1].offset() or 0
    if (expected < 0 or expected >= first) and last - first + 1 == len(messages):
        return  # the usual case
    reached = expected
    for message in messages:
        offset = message.offset() or 0
        if offset > reached >= 0:
            yield reached, offset
        reached = offset + 1
