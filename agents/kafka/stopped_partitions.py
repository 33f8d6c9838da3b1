"""Partitions that are not read any further, since their next message can only be read by a newer version."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Sequence

from aiokafka import TopicPartition
from confluent_kafka import Message

from metroline.agents.kafka.positions import names_of

log = logging.getLogger(__name__)


class StoppedPartitions:
    """Knows the partitions of this worker whose next message it cannot read, and must leave to a newer version."""

    def __init__(self, is_newer: Callable[[bytes | None], bool] = lambda _: False) -> None:
        """`is_newer` returns whether the value of a message was written by a version that is too new."""
        self._is_newer = is_newer
        self._offsets: dict[TopicPartition, int] = {}

    def __contains__(self, partition: object) -> bool:
        return partition in self._offsets

    @property
    def names(self) -> list[str]:
        """The partitions, as `topic[partition]`, sorted."""
        return names_of(self._offsets)

    def readable(self, partition: TopicPartition, messages: Sequence[Message]) -> Sequence[Message]:
        """Return the messages before the first one that is too new. With that one, the partition stops."""
        if partition in self._offsets:
            return []
        for place, message in enumerate(messages):
            if self._is_newer(message.value()):
                self._stop(partition, message.offset() or 0)
                return messages[:place]
        return messages

    def forget(self, partitions: Collection[TopicPartition]) -> None:
        """Forget partitions that other workers own."""
        for partition in partitions:
            self._offsets.pop(partition, None)

    def _stop(self, partition: TopicPartition, offset: int) -> None:
        self._offsets[partition] = offset
        log.error(
            "%s[%d] is not read any further: a newer version of Metroline wrote the message at offset %d. "
            "Upgrade this worker first",
            partition.topic,
            partition.partition,
            offset,
            extra={"offset": offset},  # no line like it may be left out
        )
