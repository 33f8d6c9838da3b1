"""The owner of a member of a consumer group: who handles its messages."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Protocol

from aiokafka import TopicPartition
from confluent_kafka import KafkaError

Notes = Mapping[TopicPartition, str]
"""A text that is kept beside the committed offset of a partition."""

Offsets = Mapping[TopicPartition, int]
"""The next offset to commit of each partition."""


class Owner(Protocol):
    """Does the work on the partitions of a member. All methods are called on the event loop."""

    async def assigned(self, partitions: Collection[TopicPartition]) -> None:
        """Prepare for partitions. They are paused until this returns."""

    async def revoked(self, partitions: Collection[TopicPartition], deadline: float) -> None:
        """Finish the work on partitions until the deadline, in seconds of `time.monotonic`; later, only forget it."""

    def committed(self, offsets: Offsets, error: KafkaError | None) -> None:
        """Take note of the answer to a commit."""

    def reached_end(self, partition: TopicPartition, offset: int) -> None:
        """Take note that there is no message before this offset but those that were handed over."""

    async def crash(self, reason: BaseException) -> None:
        """End with an error."""
