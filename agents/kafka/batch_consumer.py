"""Reads topics in batches with aiokafka and commits an offset once everything made from its messages is confirmed."""

from __future__ import annotations

import asyncio
from abc import abstractmethod
from collections.abc import Callable, Collection, Sequence
from typing import Any

from aiokafka import AIOKafkaConsumer, ConsumerRebalanceListener, TopicPartition
from aiokafka.errors import CommitFailedError, IllegalStateError, KafkaError
from aiokafka.structs import ConsumerRecord
from mode import Service

from metroline.agents.kafka.cluster import Cluster
from metroline.agents.kafka.producer import Confirmation
from metroline.agents.kafka.progress import Progress
from metroline.agents.kafka.tansu import leave_only_stable_groups
from metroline.routing.errors import MetrolineError

MAX_OPEN_BATCHES = 4
"""Batches of a partition that may be unconfirmed while the next one is handled."""

COMMIT_SECONDS = 1.0
"""Time between two commits."""

IDLE_SECONDS = 0.2
"""Time that a poll waits for messages."""

FINISH_SECONDS = 5.0
"""Time that open batches have to be confirmed before their partitions are revoked."""


class BatchConsumer(Service):
    """A member of a consumer group that hands batches of messages to `handle`."""

    group: str
    """The consumer group."""
    read: Sequence[str]
    """The topics."""
    most_records: int
    """Maximum number of messages in a batch."""

    def __init__(
        self, cluster: Cluster, clock: Callable[[], float], *, settings: dict[str, Any], **kwargs: Any
    ) -> None:
        """Take `settings` as keyword arguments of aiokafka's consumer."""
        super().__init__(**kwargs)
        self.cluster = cluster
        self.clock = clock
        self._settings = settings
        self.progress: dict[TopicPartition, Progress] = {}
        """The progress of each assigned partition."""
        self._turn = asyncio.Lock()

    @abstractmethod
    async def handle(
        self, consumer: AIOKafkaConsumer, partition: TopicPartition, messages: list[ConsumerRecord]
    ) -> tuple[int, list[Confirmation]]:
        """Handle messages. Return the next offset to commit and the confirmations that must arrive first."""

    async def prepare(self) -> None:
        """Wait until messages may be handled. Called while the group is joined."""

    async def begin(self, consumer: AIOKafkaConsumer, partitions: Collection[TopicPartition]) -> None:
        """Prepare for partitions that were assigned to this worker."""

    def resume(self, consumer: AIOKafkaConsumer) -> float:
        """Return how long the next poll may wait for messages, in seconds. Called before each poll."""
        return IDLE_SECONDS

    @Service.task
    async def _run(self) -> None:
        async with self.cluster.consumer(group_id=self.group, **self._settings) as consumer:
            await leave_only_stable_groups(consumer, self.cluster)
            consumer.subscribe(list(self.read), listener=RebalanceListener(self, consumer))
            try:
                await self.prepare()
                await self._take(consumer)
            except MetrolineError as error:
                await self.crash(error)
            finally:
                await self._finish(consumer)

    async def _take(self, consumer: AIOKafkaConsumer) -> None:
        committed_at = self.clock()
        while not self.should_stop:
            wait = self.resume(consumer)
            batches = await consumer.getmany(timeout_ms=int(wait * 1000), max_records=self.most_records)
            async with self._turn:
                for partition, messages in batches.items():
                    await self._pass_on(consumer, partition, messages)
            if self.clock() - committed_at >= COMMIT_SECONDS:
                await self.commit_confirmed(consumer)
                committed_at = self.clock()

    async def _pass_on(
        self, consumer: AIOKafkaConsumer, partition: TopicPartition, messages: list[ConsumerRecord]
    ) -> None:
        progress = self.progress.get(partition)
        if progress is None:  # the partition was revoked after the fetch
            return
        await progress.wait_for_room(MAX_OPEN_BATCHES)
        next_offset, confirmations = await self.handle(consumer, partition, messages)
        if confirmations:
            progress.add(next_offset, confirmations)

    async def assigned(self, consumer: AIOKafkaConsumer, partitions: Collection[TopicPartition]) -> None:
        """Begin to track partitions that were assigned to this worker."""
        await self.begin(consumer, partitions)
        for partition in partitions:
            self.progress[partition] = Progress()

    async def release(self, consumer: AIOKafkaConsumer) -> None:
        """Wait for open batches and commit them, before partitions are revoked."""
        async with self._turn:
            await self._finish(consumer)
            self.progress.clear()

    async def _finish(self, consumer: AIOKafkaConsumer) -> None:
        open_batches = [future for progress in self.progress.values() for _, future in progress.batches]
        if open_batches:
            await asyncio.wait(open_batches, timeout=FINISH_SECONDS)
        await self.commit_confirmed(consumer)

    async def commit_confirmed(self, consumer: AIOKafkaConsumer) -> None:
        """Commit, for each assigned partition, the offset up to which everything is confirmed."""
        offsets = {
            partition: offset
            for partition, progress in self.progress.items()
            if (offset := progress.to_commit()) is not None
        }
        if not offsets:
            return
        try:
            await self.commit(consumer, offsets)
        except (CommitFailedError, IllegalStateError) as error:  # other members own the partitions and read these again
            self.log.info("offsets of %r could not be committed: %r", list(offsets), error)
            return
        except KafkaError as error:
            self.log.warning("offsets of %r could not be committed, trying again: %r", list(offsets), error)
            return
        for partition, offset in offsets.items():
            if partition in self.progress:  # it may have been revoked meanwhile
                self.progress[partition].committed = offset

    async def commit(self, consumer: AIOKafkaConsumer, offsets: dict[TopicPartition, int]) -> None:
        """Commit the next offset of each partition."""
        await consumer.commit(offsets)


class RebalanceListener(ConsumerRebalanceListener):  # type: ignore[misc]
    """Tells a `BatchConsumer` about rebalances."""

    def __init__(self, batch_consumer: BatchConsumer, consumer: AIOKafkaConsumer) -> None:
        self.batch_consumer = batch_consumer
        self.consumer = consumer

    async def on_partitions_revoked(self, revoked: set[TopicPartition]) -> None:
        await self.batch_consumer.release(self.consumer)

    async def on_partitions_assigned(self, assigned: set[TopicPartition]) -> None:
        try:
            await self.batch_consumer.assigned(self.consumer, assigned)
        except Exception as error:  # noqa: BLE001 - aiokafka would only log it and read nothing more
            await self.batch_consumer.crash(error)
