"""Refuses outcomes at offsets that no message of the line can have: each block of offsets takes memory for good."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Collection, Container, Mapping

from aiokafka import TopicPartition
from aiokafka.errors import KafkaError

from metroline.routing.errors import MetrolineError
from metroline.routing.journeys.dead_letters import MALFORMED_ORIGIN
from metroline.routing.journeys.losses import LOST_ORIGIN
from metroline.routing.journeys.settlement import BLOCK_OFFSETS, block_key, offset_of
from metroline.routing.messages.envelope import Envelope
from metroline.routing.messages.segment import LossNotice, Segment

AHEAD = 2**20
"""Offsets by which a topic may have grown since its end was asked for. They are 64 blocks."""

ASK_SECONDS = 1.0
"""Shortest time between two questions for the end of a partition, which grows by less than `AHEAD` meanwhile."""

MAX_OTHERS = 1_024
"""Blocks of origins whose topic is not known, such as an earlier epoch of the source, that a worker may begin."""

Ends = Callable[[Collection[TopicPartition]], Awaitable[Mapping[TopicPartition, int]]]
"""Returns the offset after the last message of each partition."""


class ImplausibleOffset(MetrolineError):
    """Raised for records at an offset that their topic has not reached."""


class PlausibleOffsets:
    """Knows how far the topics are in which the records of a line enter."""

    def __init__(self, topics: Mapping[str, str], ends: Ends) -> None:
        """Take the topics of the present source, by the name of its origin, and of the line, by their addresses."""
        self._topics = topics
        self._ends = ends
        self._known: dict[TopicPartition, int] = {}
        self._asked_at: dict[TopicPartition, float] = {}
        self._others: set[bytes] = set()

    async def check(self, envelope: Envelope, stored: Container[bytes]) -> None:
        """Raise `ImplausibleOffset` if records of an envelope cannot be at their offsets.

        `envelope` holds records of one partition, and `stored` the keys of the blocks that are there already.
        """
        topic = self._topics.get(_address(envelope.origin.name))
        if topic is None:
            self._check_other(envelope, stored)
            return
        partition = TopicPartition(topic, envelope.origin.partition)
        highest = max(map(_highest, envelope.segments))
        if not await self._reaches(partition, highest):
            raise ImplausibleOffset(f"a record of {topic}[{partition.partition}] at offset {highest}, beyond its end")

    async def _reaches(self, partition: TopicPartition, offset: int) -> bool:
        if offset < self._known.get(partition, 0) + AHEAD:
            return True
        now = time.monotonic()
        if now - self._asked_at.get(partition, float("-inf")) < ASK_SECONDS:
            return False
        try:
            end = (await self._ends([partition]))[partition]
        except (KafkaError, MetrolineError, OSError):
            return True  # nobody can tell
        self._asked_at[partition] = now
        self._known[partition] = max(end, self._known.get(partition, 0))
        return offset < self._known[partition] + AHEAD

    def _check_other(self, envelope: Envelope, stored: Container[bytes]) -> None:
        for segment in envelope.segments:
            last = _highest(segment) // BLOCK_OFFSETS
            numbers = {offset_of(record) // BLOCK_OFFSETS for record in segment.ids} | {last}
            keys = {block_key(envelope.origin, number) for number in numbers}
            new = {key for key in keys if key not in stored}
            if len(self._others | new) > MAX_OTHERS or isinstance(segment.request, LossNotice):
                raise ImplausibleOffset(f"records of {envelope.origin.name:.100}, which is no origin of this line")
            self._others |= new


def _address(origin: str) -> str:
    return origin.removeprefix(MALFORMED_ORIGIN).removeprefix(LOST_ORIGIN)


def _highest(segment: Segment) -> int:
    highest = max(map(offset_of, segment.ids))
    return max(highest, segment.request.last) if isinstance(segment.request, LossNotice) else highest
