"""Announces a worker on the topic `workers` and observes the announcements of the others."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any

import orjson
from aiokafka import AIOKafkaConsumer, TopicPartition
from mode import Service

from metroline.agents.kafka.cluster import Cluster
from metroline.agents.kafka.consumer import KafkaConsumer
from metroline.agents.kafka.group_members import GroupMembers
from metroline.agents.kafka.producer import Confirmation
from metroline.agents.kafka.regularly import regularly
from metroline.agents.kafka.topic_admin import TopicAdmin
from metroline.agents.membership.signatures import Signatures
from metroline.agents.membership.worker import LiveWorkers, WorkerInfo
from metroline.routing.errors import MetrolineError

HEARTBEAT_SECONDS = 3.0
"""Time between two announcements."""

BEHIND_HEARTBEAT_SECONDS = 0.25
"""Time between two announcements of a worker that is behind: the on-ramps of the line take nothing meanwhile."""

BEHIND_SECONDS = 0.25
"""Wait of messages, in seconds, from which a worker announces more often that it is behind."""

SERVED_SECONDS = 10.0
"""Time after the last confirmed announcement for which a worker counts as served by its brokers: three intervals."""

MAX_ANNOUNCEMENTS = 1_000
"""Number of the latest announcements that are read to find the live workers."""

MAX_ASKED = 10
"""Number of groups of conflicting announcements whose members are asked for at once."""

WAIT_SECONDS = 0.5
"""Time that a look waits for announcements."""

CONFIG: dict[str, Any] = {"fetch.wait.max.ms": int(WAIT_SECONDS * 1000), "queued.max.messages.kbytes": 256}
"""Configuration of the announcements' consumer."""

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
        self._groups = GroupMembers(cluster)
        self._confirmed_at: float | None = None
        """Time at which a broker last confirmed an announcement, in seconds of `time.monotonic`."""

    @property
    def is_served(self) -> bool:
        """True while the brokers confirm this worker's announcements."""
        return self._confirmed_at is not None and time.monotonic() - self._confirmed_at < SERVED_SECONDS

    async def on_start(self) -> None:
        """Find the live workers and announce this one; raise `ConflictingRoles` if it must not run beside them."""
        await observe_latest(self.workers, self.cluster, self.topic)
        await self._refuse_conflicts()
        await self._beat(gone=False)

    async def on_stop(self) -> None:
        """Announce that this worker stops."""
        await self._beat(gone=True)

    async def _beat(self, *, gone: bool) -> None:
        me = self._describe(self._clock(), gone)
        announcement = self.workers.signatures.signed(me.as_json())
        confirmation = await self._announce(me.id.encode(), orjson.dumps(announcement))
        confirmation.add_done_callback(self._note_confirmation)
        await asyncio.wait([confirmation], timeout=HEARTBEAT_SECONDS)

    def _note_confirmation(self, confirmation: Confirmation) -> None:
        if not confirmation.cancelled() and confirmation.exception() is None:
            self._confirmed_at = time.monotonic()

    @Service.task
    async def _announce_regularly(self) -> None:
        """Announce this worker from time to time, and more often while messages wait for it."""
        announced_at = self._clock()
        was_behind = False
        async for _ in regularly(self, BEHIND_HEARTBEAT_SECONDS):
            is_behind = self._describe(self._clock(), False).behind >= BEHIND_SECONDS
            is_due = self._clock() - announced_at >= HEARTBEAT_SECONDS
            if is_behind or was_behind or is_due:
                announced_at, was_behind = self._clock(), is_behind
                await self._beat(gone=False)

    @Service.task
    async def _observe(self) -> None:
        partition = TopicPartition(self.topic, 0)
        end = (await TopicAdmin(self.cluster).high_watermarks([partition]))[partition]
        group = self._describe(self._clock(), False).group  # which the worker may use; the reader does not join it
        reader = KafkaConsumer(self.cluster.librdkafka | CONFIG | {"group.id": group}, "announcements")
        try:
            await reader.assign({partition: max(0, end - MAX_ANNOUNCEMENTS)})
            while not self.should_stop:
                for message in (await reader.take(WAIT_SECONDS)).get(partition, ()):
                    self.workers.observe(message.value(), self._clock(), self.topic, message.offset() or 0)
                await self._refuse_conflicts()
        except MetrolineError as error:
            await self.crash(error)
        finally:
            await reader.close()

    async def _refuse_conflicts(self) -> None:
        """Raise `ConflictingRoles` if a live worker has a conflicting role, and is not made up by a stranger."""
        conflicts = self.workers.conflicts(self._describe(self._clock(), False), self._clock())
        by_group = {conflict.group: conflict for conflict in conflicts}
        for group, conflict in list(by_group.items())[:MAX_ASKED]:
            if self.workers.signatures.are_required or await self._groups.has_members(group):
                raise conflict


async def live_workers(cluster: Cluster, topic: str, key: str | None = None) -> LiveWorkers:
    """Return the workers that the topic tells of now; `key` is that of the line's announcements, if it has one."""
    workers = LiveWorkers(Signatures(topic, key))
    await observe_latest(workers, cluster, topic)
    return workers


async def observe_latest(workers: LiveWorkers, cluster: Cluster, topic: str) -> None:
    """Read the latest announcements on the topic."""
    partition = TopicPartition(topic, 0)
    async with cluster.consumer(fetch_max_wait_ms=10) as consumer:
        end = await _seek(consumer, cluster, partition)
        while await consumer.position(partition) < end:
            for message in (await consumer.getmany(timeout_ms=100)).get(partition, ()):
                workers.observe(message.value, time.time(), topic, message.offset)


async def _seek(consumer: AIOKafkaConsumer, cluster: Cluster, partition: TopicPartition) -> int:
    """Seek to the latest announcements; return the offset after the last one."""
    end = (await TopicAdmin(cluster).high_watermarks([partition]))[partition]
    consumer.assign([partition])
    beginning = (await consumer.beginning_offsets([partition]))[partition]
    consumer.seek(partition, max(beginning, end - MAX_ANNOUNCEMENTS))
    return end
