"""Faust's transport with a fetch wait that can be set and the true high watermark of every partition.

Faust asks a broker to wait up to 1.5 s for data. A broker that does not wake on data, as the embedded one, makes a hop
take that long. And table recovery relies on the end of a changelog: told too low, the last updates are lost.
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
from metroline.agents.kafka.tansu import leave_with_care

HELD_BYTES = 2 * 1024 * 1024
"""What a worker may hold of one topic; Faust delivers to all agents in one loop, so that a full one would stop all."""

SHORT = 0.02
"""Seconds after which topics are looked at again of which too much was held."""

DRAIN_SECONDS = 5.0
"""How long messages at hand may take to their end when partitions are taken away or the worker stops."""


class ConsumerThread(driver.AIOKafkaConsumerThread):
    """The thread in which Faust's consumer runs."""

    async def on_start(self) -> None:
        """Called in the thread."""
        await super().on_start()
        await leave_with_care(self._consumer, cast(Transport, self.transport).cluster)

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
    """Faust's consumer, running in our thread; it looks only at topics of which it does not hold too much."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.budget = FetchBudget(HELD_BYTES)

    async def _getmany(self, active_partitions: set[TP] | None, timeout: float) -> Any:
        if active_partitions is None:
            return await super()._getmany(active_partitions, timeout)
        look_at = self.budget.open(active_partitions)
        if not look_at:
            await self.sleep(SHORT)
            return {}
        # What is left out may be looked at soon: others with nothing to read must not hold it up.
        return await super()._getmany(look_at, timeout if len(look_at) == len(active_partitions) else SHORT)

    def _to_message(self, tp: TP, record: Any) -> Any:
        if self.app.topics.acks_enabled_for(tp.topic):
            self.budget.take(tp, record.offset, len(record.value or b""))
        return super()._to_message(tp, record)

    def ack(self, message: Message) -> bool:
        """Called when a stream is done with a message."""
        self.budget.give_back(message.tp, message.offset)
        return super().ack(message)

    async def perform_seek(self) -> None:
        """Takes no message from where a stream stands now; Faust lets messages flow again right after this."""
        self.stop_flow()
        await super().perform_seek()
        self.budget.clear()  # what was taken since partitions changed hands, and was left out there, comes again

    async def on_partitions_revoked(self, revoked: set[TP]) -> None:
        """Commits what was acknowledged; Faust forgets that first, and each rebalance repeated seconds of work."""
        if not self.app.should_stop:
            await self.commit()
        await super().on_partitions_revoked(revoked)
        self.budget.clear()
        cast(Transport, self.transport).forget()

    async def wait_empty(self) -> None:
        """Lets what is at hand come to its end, for a while: what is left comes again, here or elsewhere."""
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
    """Set it as `app.transport` before the app starts; `fetch_wait` is in seconds.

    `drain` is called with True when what is at hand shall come to its end soon, and with False afterwards; `forget`
    when partitions were taken away, with all that is at hand.
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
        forget: Callable[[], None],
    ) -> None:
        super().__init__(url, app, loop)
        self.cluster = cluster
        self.fetch_wait = fetch_wait
        self.drain = drain
        self.forget = forget
