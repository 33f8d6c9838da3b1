"""Faust's transport with a configurable fetch wait and reliable high watermarks.

Faust lets a fetch wait 1.5 s for data. On a broker that does not answer as soon as data arrives, such as the embedded
one, every hop takes that long. And table recovery reads a changelog up to its high watermark: if that is reported too
low, the last updates are lost.
"""

from __future__ import annotations

import asyncio
from asyncio import AbstractEventLoop
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, cast

import aiokafka
from faust.transport.drivers import aiokafka as driver
from faust.types import TP, Message
from faust.types.transports import ConsumerT

from metroline.agents.kafka.cluster import Cluster
from metroline.agents.kafka.flow_control import FetchBudget
from metroline.agents.kafka.tansu import leave_only_stable_groups
from metroline.agents.kafka.topic_admin import TopicAdmin

MAX_TOPIC_BYTES = 2 * 1024 * 1024
"""Bytes that a worker may hold of one topic. Faust delivers to all agents in one loop: a full one would stop all."""

RETRY_SECONDS = 0.02
"""Time after which topics that were over their budget are tried again."""

DRAIN_SECONDS = 5.0
"""Time that open messages have to be acknowledged when partitions are revoked or the worker stops."""


class ConsumerThread(driver.AIOKafkaConsumerThread):
    """The thread in which Faust's consumer runs."""

    async def on_start(self) -> None:
        """Run in the consumer's thread, when it starts."""
        await super().on_start()
        await leave_only_stable_groups(self._consumer, cast(Transport, self.transport).cluster)

    def _create_worker_consumer(self, transport: driver.Transport) -> aiokafka.AIOKafkaConsumer:
        consumer = super()._create_worker_consumer(transport)
        consumer._fetch_max_wait_ms = int(cast(Transport, transport).fetch_wait * 1000)  # Faust has no setting for it
        return consumer

    async def seek_to_committed(self) -> Mapping[TP, int]:
        """Seek each stream to its committed offset, or to its beginning if nothing was committed."""
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
        found = await TopicAdmin(cluster).high_watermarks(partitions)
        return {TP(tp.topic, tp.partition): offset for tp, offset in found.items()}


class Consumer(driver.Consumer):
    """Faust's consumer, which fetches only from topics that are within their budget."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.budget = FetchBudget(MAX_TOPIC_BYTES)

    async def _getmany(self, active_partitions: set[TP] | None, timeout: float) -> Any:
        if active_partitions is None:
            return await super()._getmany(active_partitions, timeout)
        fetchable = self.budget.fetchable(active_partitions)
        if not fetchable:
            await self.sleep(RETRY_SECONDS)
            return {}
        # A partition that is left out is due soon: a fetch that finds nothing must not delay it.
        wait = timeout if len(fetchable) == len(active_partitions) else RETRY_SECONDS
        return await super()._getmany(fetchable, wait)

    def _to_message(self, tp: TP, record: Any) -> Any:
        if self.app.topics.acks_enabled_for(tp.topic):
            self.budget.take(tp, record.offset, len(record.value or b""))
        return super()._to_message(tp, record)

    def ack(self, message: Message) -> bool:
        """Acknowledge a message that a stream is done with."""
        self.budget.give_back(message.tp, message.offset)
        return super().ack(message)

    async def perform_seek(self) -> None:
        """Stop the flow of messages before the seek; Faust resumes it right afterwards."""
        self.stop_flow()
        await super().perform_seek()
        self.budget.clear()  # messages fetched since the rebalance were discarded and come again

    async def on_partitions_revoked(self, revoked: set[TP]) -> None:
        """Commit acknowledged messages first. Faust discards them, and each rebalance would repeat seconds of work."""
        if not self.app.should_stop:
            await self.commit()
        await super().on_partitions_revoked(revoked)
        self.budget.clear()
        cast(Transport, self.transport).reset()

    async def wait_empty(self) -> None:
        """Wait up to `DRAIN_SECONDS` for open messages. The others come again, here or on another worker."""
        drain = cast(Transport, self.transport).drain
        drain(True)
        try:
            await asyncio.wait_for(super().wait_empty(), DRAIN_SECONDS)
        except TimeoutError:
            self.log.info("%d messages are left open and come again", len(self._unacked_messages))
        finally:
            drain(False)

    def _new_consumer_thread(self) -> ConsumerThread:
        return ConsumerThread(self, loop=self.loop, beacon=self.beacon)


class Transport(driver.Transport):
    """Faust's transport with our consumer. `fetch_wait` is in seconds.

    `drain` is called with True when open messages should be finished soon, and with False afterwards. `reset` is
    called when partitions, with all open messages, were revoked.
    """

    Consumer: ClassVar[type[ConsumerT]] = Consumer

    def __init__(
        self,
        url: Any,
        app: Any,
        loop: AbstractEventLoop | None = None,
        *,
        cluster: Cluster,
        fetch_wait: float,
        drain: Callable[[bool], None],
        reset: Callable[[], None],
    ) -> None:
        super().__init__(url, app, loop)
        self.cluster = cluster
        self.fetch_wait = fetch_wait
        self.drain = drain
        self.reset = reset
