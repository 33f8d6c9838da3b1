"""Announces a worker on the topic `workers` and observes the announcements of the others."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import orjson
from aiokafka import AIOKafkaConsumer, TopicPartition
from mode import Service

from metroline.agents.kafka.cluster import Cluster
from metroline.agents.kafka.producer import Confirmation
from metroline.agents.kafka.topic_admin import TopicAdmin
from metroline.agents.membership.worker import ConflictingRoles, LiveWorkers, WorkerInfo

HEARTBEAT_SECONDS = 3.0
"""Time between two announcements."""

MAX_ANNOUNCEMENTS = 1_000
"""Number of the latest announcements that are read to find the live workers."""

Describe = Callable[[float, bool], WorkerInfo]
"""Returns a worker's announcement at a time, in seconds since the epoch, and whether it is the last one."""


class Heartbeat(Service):
    """Announces this worker, and keeps `workers` up to date."""

    def __init__(
        self,
        cluster: Cluster,
        topic: str,
        workers: LiveWorkers,
        describe: Describe,
        announce: Callable[[bytes, bytes], Awaitable[Confirmation]],
        clock: Callable[[], float],
        **kwargs: Any,
    ) -> None:
        """Take `announce`, which sends a key and a value to the topic."""
        super().__init__(**kwargs)
        self.cluster = cluster
        self.topic = topic
        self.workers = workers
        self._describe = describe
        self._announce = announce
        self._clock = clock

    async def on_start(self) -> None:
        """Find the live workers and announce this one; raise `ConflictingRoles` if it must not run beside them."""
        await observe_latest(self.workers, self.cluster, self.topic)
        self._refuse_conflicts()
        await self._beat(gone=False)

    async def on_stop(self) -> None:
        """Announce that this worker stops."""
        await self._beat(gone=True)

    async def _beat(self, *, gone: bool) -> None:
        me = self._describe(self._clock(), gone)
        confirmation = await self._announce(me.id.encode(), orjson.dumps(me.as_json()))
        await asyncio.wait([confirmation], timeout=HEARTBEAT_SECONDS)

    @Service.task
    async def _announce_regularly(self) -> None:
        while not self.should_stop:
            await self.sleep(HEARTBEAT_SECONDS)
            if not self.should_stop:
                await self._beat(gone=False)

    @Service.task
    async def _observe(self) -> None:
        async with self.cluster.consumer() as consumer:
            await _seek(consumer, self.cluster, self.topic)
            while not self.should_stop:
                await _observe_batch(self.workers, consumer, timeout_ms=500)
                try:
                    self._refuse_conflicts()
                except ConflictingRoles as error:
                    await self.crash(error)

    def _refuse_conflicts(self) -> None:
        self.workers.refuse_conflicts(self._describe(self._clock(), False), self._clock())


async def live_workers(cluster: Cluster, topic: str) -> LiveWorkers:
    """Return the workers that the topic tells of now."""
    workers = LiveWorkers()
    await observe_latest(workers, cluster, topic)
    return workers


async def observe_latest(workers: LiveWorkers, cluster: Cluster, topic: str) -> None:
    """Read the latest announcements on the topic."""
    async with cluster.consumer(fetch_max_wait_ms=10) as consumer:
        end = await _seek(consumer, cluster, topic)
        while await consumer.position(TopicPartition(topic, 0)) < end:
            await _observe_batch(workers, consumer, timeout_ms=100)


async def _observe_batch(workers: LiveWorkers, consumer: AIOKafkaConsumer, *, timeout_ms: int) -> None:
    for messages in (await consumer.getmany(timeout_ms=timeout_ms)).values():
        for message in messages:
            workers.observe(message)


async def _seek(consumer: AIOKafkaConsumer, cluster: Cluster, topic: str) -> int:
    """Seek to the latest announcements; return the offset after the last one."""
    partition = TopicPartition(topic, 0)
    end = (await TopicAdmin(cluster).high_watermarks([partition]))[partition]
    consumer.assign([partition])
    beginning = (await consumer.beginning_offsets([partition]))[partition]
    consumer.seek(partition, max(beginning, end - MAX_ANNOUNCEMENTS))
    return end
