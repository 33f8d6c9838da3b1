"""Reads a topic in batches straight from aiokafka and commits what was made from them once that is confirmed."""

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

from metroline.agents.delivery.bus import Confirmation
from metroline.agents.kafka.cluster import Cluster
from metroline.agents.kafka.tansu import leave_with_care
from metroline.routing.errors import MetrolineError

OPEN_BATCHES = 4
"""Batches of a partition that may be unconfirmed while the next one is taken."""

COMMIT_SECONDS = 1.0
IDLE_SECONDS = 0.2


@dataclass(slots=True)
class _Progress:
    """What of a partition is on its way: batches in order, each with the offset behind it."""

    batches: deque[tuple[int, asyncio.Future[Any]]] = field(default_factory=deque)
    done: int | None = None
    committed: int | None = None

    def advance(self) -> None:
        """Moves past the batches at the head that are confirmed."""
        while self.batches and self.batches[0][1].done():
            if self.batches[0][1].cancelled() or self.batches[0][1].exception() is not None:
                return
            self.done = self.batches.popleft()[0]


class BatchConsumer(Service):
    """A consumer group of its own that reads some topics and passes on what it finds."""

    group: str
    read: Sequence[str]
    """The topics."""
    most_records: int
    """Messages taken at once."""

    def __init__(
        self, cluster: Cluster, clock: Callable[[], float], *, settings: dict[str, Any], **kwargs: Any
    ) -> None:
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
        """Passes messages on; gives the offset behind those that it took, and what to wait for before that commits."""

    async def prepare(self) -> None:
        """Called while the group is joined: returns when messages may be taken."""

    async def begin(self, consumer: AIOKafkaConsumer, partitions: Collection[TopicPartition]) -> None:
        """Called when partitions are given to this worker."""

    def resume(self, consumer: AIOKafkaConsumer) -> float:
        """Called before each look; gives how long to wait for messages, in seconds."""
        return IDLE_SECONDS

    @Service.task
    async def _run(self) -> None:
        async with self.cluster.consuming(group_id=self.group, **self._settings) as consumer:
            await leave_with_care(consumer, self.cluster)
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
        if progress is None:  # the partition was taken away after the fetch
            return
        while len(progress.batches) >= OPEN_BATCHES:
            await asyncio.wait([progress.batches[0][1]])
            progress.advance()
        behind, confirmations = await self.handle(consumer, partition, messages)
        if confirmations:
            progress.batches.append((behind, asyncio.gather(*confirmations)))

    async def assigned(self, consumer: AIOKafkaConsumer, partitions: Collection[TopicPartition]) -> None:
        """Called when partitions are given to this worker."""
        await self.begin(consumer, partitions)
        for partition in partitions:
            self._progress[partition] = _Progress()

    async def release(self, consumer: AIOKafkaConsumer) -> None:
        """Called before partitions are taken away: what was sent is confirmed and committed first."""
        async with self._turn:
            await self._finish(consumer)
            self._progress.clear()

    async def _finish(self, consumer: AIOKafkaConsumer) -> None:
        open_batches = [future for progress in self._progress.values() for _, future in progress.batches]
        if open_batches:
            await asyncio.wait(open_batches, timeout=5.0)
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
        except (CommitFailedError, IllegalStateError) as error:  # others have the partitions now and take these again
            self.log.info("offsets of %r could not be committed: %r", list(offsets), error)
            return
        except KafkaError as error:
            self.log.warning("offsets of %r could not be committed, trying again: %r", list(offsets), error)
            return
        for partition, offset in offsets.items():
            if partition in self._progress:  # it may have been taken away meanwhile
                self._progress[partition].committed = offset

    async def commit(self, consumer: AIOKafkaConsumer, offsets: dict[TopicPartition, int]) -> None:
        """Says how far the topics are read."""
        await consumer.commit(offsets)


class _Listener(ConsumerRebalanceListener):  # type: ignore[misc]
    """Hands rebalances to the reader."""

    def __init__(self, reader: BatchConsumer, consumer: AIOKafkaConsumer) -> None:
        self.reader = reader
        self.consumer = consumer

    async def on_partitions_revoked(self, revoked: set[TopicPartition]) -> None:
        await self.reader.release(self.consumer)

    async def on_partitions_assigned(self, assigned: set[TopicPartition]) -> None:
        try:
            await self.reader.assigned(self.consumer, assigned)
        except Exception as error:  # noqa: BLE001 - aiokafka would log it, and nothing would be read any more
            await self.reader.crash(error)
