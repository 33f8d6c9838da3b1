"""Faust's transport with a fetch wait that can be set and the true high watermark of every partition.

Faust asks a broker to wait up to 1.5 s for data. A broker that does not wake on data, as the embedded one, makes a hop
take that long. And table recovery relies on the end of a changelog: told too low, the last updates are lost.
"""

from __future__ import annotations

from asyncio import AbstractEventLoop
from collections.abc import Mapping
from typing import Any, ClassVar, cast

import aiokafka
from faust.transport.drivers import aiokafka as driver
from faust.types import TP
from faust.types.transports import ConsumerT

from agents.cluster import Cluster


class ConsumerThread(driver.AIOKafkaConsumerThread):
    """The thread in which Faust's consumer runs."""

    def _create_worker_consumer(self, transport: driver.Transport) -> aiokafka.AIOKafkaConsumer:
        consumer = super()._create_worker_consumer(transport)
        consumer._fetch_max_wait_ms = int(cast(Transport, transport).fetch_wait * 1000)  # it has no setting for it
        return consumer

    async def seek_to_committed(self) -> Mapping[TP, int]:
        """Puts each stream where its group has read up to, which is its beginning if nothing was committed."""
        return cast("Mapping[TP, int]", await self.call_thread(self._seek_to_committed))

    async def _seek_to_committed(self) -> Mapping[TP, int]:
        consumer = self._ensure_consumer()
        committed = await consumer.seek_to_committed()
        changelogs = self.app.tables.changelog_topics
        unread = [
            partition for partition, offset in committed.items() if not offset and partition.topic not in changelogs
        ]
        if unread:
            await consumer.seek_to_beginning(*unread)
        return cast("Mapping[TP, int]", committed)

    async def _highwaters(self, partitions: Any) -> Mapping[TP, int]:
        cluster = cast(Transport, self.transport).cluster
        found = await cluster.high_watermarks(partitions)
        return {TP(tp.topic, tp.partition): offset for tp, offset in found.items()}


class Consumer(driver.Consumer):
    """Faust's consumer, running in our thread."""

    async def perform_seek(self) -> None:
        """Takes no message from where a stream stands now; Faust lets messages flow again right after this."""
        self.stop_flow()
        await super().perform_seek()

    async def on_partitions_revoked(self, revoked: set[TP]) -> None:
        """Commits what was acknowledged; Faust forgets that first, and each rebalance repeated seconds of work."""
        if not self.app.should_stop:
            await self.commit()
        await super().on_partitions_revoked(revoked)

    def _new_consumer_thread(self) -> ConsumerThread:
        return ConsumerThread(self, loop=self.loop, beacon=self.beacon)


class Transport(driver.Transport):
    """Set it as `app.transport` before the app starts; `fetch_wait` is in seconds."""

    Consumer: ClassVar[type[ConsumerT]] = Consumer

    def __init__(
        self, url: Any, app: Any, loop: AbstractEventLoop | None = None, *, cluster: Cluster, fetch_wait: float
    ) -> None:
        super().__init__(url, app, loop)
        self.cluster = cluster
        self.fetch_wait = fetch_wait
