"""Which workers of a line are alive: each says so on the topic `workers`, and reads what others say."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import orjson
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.structs import ConsumerRecord
from mode import Service

from metroline.agents.kafka.cluster import Cluster
from metroline.routing.errors import MetrolineError
from metroline.routing.messages.header_checks import natural, seconds, text

BEAT = 3.0
"""Seconds between two announcements."""

ALIVE = 12.0
"""Seconds that an announcement holds."""

LATEST = 1_000
"""Announcements that are read to learn who is alive."""


class ConflictingRoles(MetrolineError):
    """Raised when a worker that cuts the line into other roles is alive: both would handle each message."""


@dataclass(frozen=True, slots=True)
class WorkerInfo:
    """What a worker says of itself."""

    id: str
    group: str
    parts: tuple[str, ...]
    stops: tuple[str, ...]
    strategy: str
    url: str
    version: int
    started: float
    at: float
    """Seconds since the epoch, as `started`."""
    gone: bool = False

    def as_json(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in self.__slots__}

    @classmethod
    def of_json(cls, data: dict[str, Any]) -> WorkerInfo:
        """Raises LookupError, TypeError or `MetrolineError` for what is no announcement."""
        return cls(
            id=text(data["id"]),
            group=text(data["group"]),
            parts=tuple(map(text, data["parts"])),
            stops=tuple(map(text, data["stops"])),
            strategy=text(data["strategy"]),
            url=text(data["url"]),
            version=natural(data["version"]),
            started=seconds(data["started"]),
            at=seconds(data["at"]),
            gone=data["gone"] is True,
        )

    def conflict(self, other: WorkerInfo) -> frozenset[str]:
        """The parts that both play in groups that do not share their messages."""
        shared = (set(self.parts) & set(other.parts)) - {"on-ramp"}
        return frozenset(shared) if other.group != self.group else frozenset()


class LiveWorkers:
    """The workers that are alive, from their announcements."""

    def __init__(self) -> None:
        self._known: dict[str, WorkerInfo] = {}

    def hear(self, message: ConsumerRecord) -> None:
        try:
            worker = WorkerInfo.of_json(orjson.loads(message.value))
        except (LookupError, TypeError, ValueError, MetrolineError):
            return
        self._known[worker.id] = worker

    def alive(self, now: float) -> list[WorkerInfo]:
        return [worker for worker in self._known.values() if not worker.gone and now - worker.at < ALIVE]

    def stops(self, now: float) -> frozenset[str]:
        """The stops that some live worker serves."""
        return frozenset(stop for worker in self.alive(now) for stop in worker.stops)

    def guard(self, me: WorkerInfo, now: float) -> None:
        """Raises `ConflictingRoles` where a live worker of another cut plays a part of mine and was there before me."""
        for other in self.alive(now):
            both = me.conflict(other)
            if both and (other.started, other.id) < (me.started, me.id):
                raise ConflictingRoles(
                    f"{', '.join(sorted(both))} is played by a live worker of another cut of roles ({other.group} at "
                    f"{other.url}): stop it, run `metroline hand-over`, then start this one ({me.group}); "
                    f"one that was killed counts as alive for {ALIVE:.0f} s"
                )


async def _seek(consumer: AIOKafkaConsumer, cluster: Cluster, topic: str) -> int:
    """Puts the consumer before the latest announcements; gives the offset after the last one."""
    partition = TopicPartition(topic, 0)
    end = (await cluster.high_watermarks([partition]))[partition]
    consumer.assign([partition])
    consumer.seek(partition, max((await consumer.beginning_offsets([partition]))[partition], end - LATEST))
    return end


async def live_workers(cluster: Cluster, topic: str) -> LiveWorkers:
    """Reads who is alive now."""
    workers = LiveWorkers()
    async with cluster.consuming(fetch_max_wait_ms=10) as consumer:
        end = await _seek(consumer, cluster, topic)
        while await consumer.position(TopicPartition(topic, 0)) < end:
            for messages in (await consumer.getmany(timeout_ms=100)).values():
                for message in messages:
                    workers.hear(message)
    return workers


class Heartbeat(Service):
    """Announces this worker, and keeps who else is alive."""

    def __init__(
        self,
        cluster: Cluster,
        topic: str,
        me: Callable[[float, bool], WorkerInfo],
        say: Callable[[bytes, bytes], Any],
        clock: Callable[[], float],
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.cluster = cluster
        self.topic = topic
        self.workers = LiveWorkers()
        self._me = me
        self._say = say
        self._clock = clock

    async def on_start(self) -> None:
        self.workers = await live_workers(self.cluster, self.topic)
        self.workers.guard(self._me(self._clock(), False), self._clock())
        await self._announce(gone=False)

    async def on_stop(self) -> None:
        await self._announce(gone=True)

    async def _announce(self, *, gone: bool) -> None:
        me = self._me(self._clock(), gone)
        confirmation = await self._say(me.id.encode(), orjson.dumps(me.as_json()))
        await asyncio.wait([confirmation], timeout=BEAT)

    @Service.task
    async def _beat(self) -> None:
        while not self.should_stop:
            await self.sleep(BEAT)
            if not self.should_stop:
                await self._announce(gone=False)

    @Service.task
    async def _listen(self) -> None:
        async with self.cluster.consuming() as consumer:
            await _seek(consumer, self.cluster, self.topic)
            while not self.should_stop:
                for messages in (await consumer.getmany(timeout_ms=500)).values():
                    for message in messages:
                        self.workers.hear(message)
                await self._check()

    async def _check(self) -> None:
        try:
            self.workers.guard(self._me(self._clock(), False), self._clock())
        except ConflictingRoles as error:
            await self.crash(error)
