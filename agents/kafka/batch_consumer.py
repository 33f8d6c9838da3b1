"""Reads topics in batches with aiokafka and commits an offset once everything made from its messages is confirmed."""

from __future__ import annotations

import asyncio
from abc import abstractmethod
from collections import deque
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from typing import Any

from aiokafka import AIOKafkaConsumer, ConsumerRebalanceListener, TopicPartition
from aiokafka.errors import CommitFailedError, IllegalStateError, KafkaError
from aiokafka.structs import ConsumerRecord
from mode import Service

from metroline.agents.kafka.cluster import Cluster
from metroline.agents.kafka.producer import Confirmation
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


@dataclass(slots=True)
class _Progress:
    """The open batches of a partition in order, each with the offset after its last message."""

    batches: deque[tuple[int, asyncio.Future[Any]]] = field(default_factory=deque)
    done: int | None = None
    """The next offset to commit."""
    committed: int | None = None

    def advance(self) -> None:
        """Advance `done` past the confirmed batches at the head."""
        while self.batches and self.batches[0][1].done():
            if self.batches[0][1].cancelled() or self.batches[0][1].exception() is not None:
                return
            self.done = self.batches.popleft()[0]


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
        self._progress: dict[TopicPartition, _Progress] = {}
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
            consumer.subscribe(list(self.read), listener=_Listener(self, consumer))
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
                await self._commit(consumer)
                committed_at = self.clock()

    async def _pass_on(
        self, consumer: AIOKafkaConsumer, partition: TopicPartition, messages: list[ConsumerRecord]
    ) -> None:
        progress = self._progress.get(partition)
        if progress is None:  # the partition was revoked after the fetch
            return
        while len(progress.batches) >= MAX_OPEN_BATCHES:
            await asyncio.wait([progress.batches[0][1]])
            progress.advance()
        next_offset, confirmations = await self.handle(consumer, partition, messages)
        if confirmations:
            progress.batches.append((next_offset, asyncio.gather(*confirmations)))

    async def assigned(self, consumer: AIOKafkaConsumer, partitions: Collection[TopicPartition]) -> None:
        """Begin to track partitions that were assigned to this worker."""
        await self.begin(consumer, partitions)
        for partition in partitions:
            self._progress[partition] = _Progress()

    async def release(self, consumer: AIOKafkaConsumer) -> None:
        """Wait for open batches and commit them, before partitions are revoked."""
        async with self._turn:
            await self._finish(consumer)
            self._progress.clear()

    async def _finish(self, consumer: AIOKafkaConsumer) -> None:
        open_batches = [future for progress in self._progress.values() for _, future in progress.batches]
        if open_batches:
            await asyncio.wait(open_batches, timeout=FINISH_SECONDS)
        await self._commit(consumer)

    async def _commit(self, consumer: AIOKafkaConsumer) -> None:
        offsets = {}
        for partition, progress in self._progress.items():
            progress.advance()
            if progress.done is not None and progress.done != progress.committed:
                offsets[partition] = progress.done
        if not offsets:
            return
        try:
            await self.commit(consumer, offsets)
        except (
            CommitFailedError,
            IllegalStateError,
        ) as error:  # other members own the partitions now and read these again
            self.log.info("offsets of %r could not be committed: %r", list(offsets), error)
            return
        except KafkaError as error:
            self.log.warning("offsets of %r could not be committed, trying again: %r", list(offsets), error)
            return
        for partition, offset in offsets.items():
            if partition in self._progress:  # it may have been revoked meanwhile
                self._progress[partition].committed = offset

    async def commit(self, consumer: AIOKafkaConsumer, offsets: dict[TopicPartition, int]) -> None:
        """Commit the next offset of each partition."""
        await consumer.commit(offsets)


class _Listener(ConsumerRebalanceListener):  # type: ignore[misc]
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
