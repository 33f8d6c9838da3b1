"""A consumer that cannot take over its partitions ends its worker; one that loses them during a commit goes on."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from aiokafka import TopicPartition
from aiokafka.errors import KafkaTimeoutError
from aiokafka.structs import ConsumerRecord

from metroline.agents.kafka.batch_consumer import BatchConsumer, RebalanceListener
from metroline.agents.kafka.producer import Confirmation
from metroline.agents.kafka.progress import Progress

PARTITION = TopicPartition("test.source", 0)


class Broken(BatchConsumer):
    """A consumer that fails as if a broker had no leader, and that loses its partitions during a commit."""

    def __init__(self) -> None:
        cluster: Any = None
        super().__init__(cluster, lambda: 0.0, settings={})
        self.committed: list[dict[TopicPartition, int]] = []

    async def handle(
        self, consumer: Any, partition: TopicPartition, messages: list[ConsumerRecord]
    ) -> tuple[int, list[Confirmation]]:
        raise NotImplementedError

    async def begin(self, consumer: Any, partitions: Collection[TopicPartition]) -> None:
        raise KafkaTimeoutError

    async def commit(self, consumer: Any, offsets: dict[TopicPartition, int]) -> None:
        self.committed.append(offsets)
        self.progress.clear()


async def test_what_keeps_a_reader_from_its_partitions_ends_the_worker() -> None:
    reader, consumer = Broken(), object()

    await RebalanceListener(reader, consumer).on_partitions_assigned({PARTITION})

    assert isinstance(reader.crash_reason, KafkaTimeoutError)


async def test_partitions_that_went_away_during_a_commit_are_not_missed() -> None:
    reader = Broken()
    reader.progress[PARTITION] = Progress(done=7)

    await reader.commit_confirmed(object())

    assert reader.committed == [{PARTITION: 7}]
