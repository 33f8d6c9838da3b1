"""The workers' consumer: librdkafka, which fetches, checks and decompresses in threads of its own, outside Python."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from threading import Condition, Thread
from typing import Any

from aiokafka import TopicPartition
from confluent_kafka import Consumer, KafkaException, Message
from confluent_kafka import TopicPartition as Position

from metroline.agents.kafka.cluster import ClusterError
from metroline.agents.kafka.complaints import Complaints, described, is_refusal, library_log
from metroline.agents.kafka.positions import by_partition, positions_of

POLL_SECONDS = 0.1
"""Time that the thread waits for a message before it looks whether it is still wanted."""

MAX_MESSAGES = 10_000
"""Maximum number of messages that are taken at once."""

ENDS_SECONDS = 1.0
"""Time between two looks at where partitions end. The client knows it from what it fetched; no broker is asked."""

READING: Mapping[str, Any] = {
    "enable.auto.commit": False,
    "enable.auto.offset.store": False,
    "auto.offset.reset": "earliest",
}
"""Configuration of every consumer: it commits only what it is told to."""

Fetched = dict[TopicPartition, list[Message]]
"""Messages by partition, in the order of their offsets."""


def ends_of(client: Consumer) -> dict[TopicPartition, int]:
    """Return the offset after the last message of each assigned partition, as far as the client has fetched."""
    ends = {}
    for position in client.assignment():
        with suppress(KafkaException):  # it was unassigned meanwhile
            found = client.get_watermark_offsets(position, cached=True)
            if found is not None and found[1] >= 0:  # otherwise nothing was fetched of it so far
                ends[TopicPartition(position.topic, position.partition)] = found[1]
    return ends


class KafkaConsumer:
    """Takes messages from the partitions that are assigned to it.

    A thread waits for messages while they are wanted, that is, while `take` is called; what is not taken stays with
    librdkafka, which bounds the bytes that it holds. The thread waits for one message and then takes what else is
    there: `consume(n, timeout)` of confluent-kafka would wait until n messages are there or the time is up.
    """

    def __init__(self, config: Mapping[str, Any], name: str) -> None:
        """Take configuration of librdkafka; `name` is that of the thread and stands in the log."""
        self.name = name
        self._complaints = Complaints(name)
        self._fatal: KafkaException | None = None
        identity = {"group.id": name}  # librdkafka looks it up, and joins no group without a subscription
        self.client = Consumer({**READING, **identity, **self._complaints.config, **config}, logger=library_log)
        self._loop = asyncio.get_running_loop()
        self._changed = Condition()
        self._is_wanted = False
        self._is_polling = False
        self._is_closed = False
        self._fetched: list[Message] = []
        self._arrived = asyncio.Event()
        self.ends: Mapping[TopicPartition, int] = {}
        """The offset after the last message of each partition, as the brokers told lately."""
        self._looked_at = 0.0
        self._thread = Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    async def take(self, seconds: float) -> Fetched:
        """Return the messages that are there, or wait up to `seconds` for the first one; raise `ClusterError`."""
        if not self._fetched:
            self._arrived.clear()
            with self._changed:
                self._is_wanted = True
                self._changed.notify_all()
            with suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    await self._arrived.wait()
        return self._take_fetched()

    def wake(self) -> None:
        """Make a `take` that waits return at once."""
        self._arrived.set()

    async def park(self) -> Fetched:
        """Stop fetching until the next `take`; return the messages that were taken meanwhile."""
        with self._changed:
            self._is_wanted = False
        self._arrived.set()  # nothing arrives any more for a `take` that waits
        if self._is_polling:
            await asyncio.to_thread(self._wait_until_parked)
        return self._take_fetched()

    async def assign(self, offsets: Mapping[TopicPartition, int]) -> Fetched:
        """Add partitions, each from an offset; return the messages of others that were taken meanwhile."""
        taken = await self.park()
        positions = [Position(tp.topic, tp.partition, offset) for tp, offset in offsets.items()]
        self.client.incremental_assign(positions)
        return taken

    async def unassign(self, partitions: Collection[TopicPartition]) -> Fetched:
        """Remove partitions; return the messages that were taken meanwhile."""
        taken = await self.park()
        self.client.incremental_unassign(positions_of(partitions))
        return taken

    async def close(self) -> None:
        """Stop the thread and close the client."""
        with self._changed:
            self._is_closed = True
            self._is_wanted = False
            self._changed.notify_all()
        await asyncio.to_thread(self._thread.join)
        await asyncio.to_thread(self.client.close)

    def _wait_until_parked(self) -> None:
        with self._changed:
            while self._is_polling:
                self._changed.wait()

    def _take_fetched(self) -> Fetched:
        if self._fatal is not None:
            raise ClusterError(f"{self.name} cannot read any more: {self._fatal}")
        with self._changed:
            messages, self._fetched = self._fetched, []
        good = []
        for message in messages:
            error = message.error()
            if error is None:
                good.append(message)
            elif message.topic() is not None and is_refusal(error):
                raise ClusterError(f"{self.name} cannot read {message.topic()} any more: {described(error)}")
            else:
                self._complaints.note(error)
        return by_partition(good)

    def _run(self) -> None:
        """Wait for messages while they are wanted. Runs in the thread."""
        while True:
            with self._changed:
                while not (self._is_wanted or self._is_closed):
                    self._changed.wait()
                if self._is_closed:
                    return
                self._is_polling = True
            messages = self._poll()
            with self._changed:
                self._is_polling = False
                self._changed.notify_all()
                if not messages and self._fatal is None:
                    continue
                self._fetched.extend(messages)
                self._is_wanted = False
            with suppress(RuntimeError):  # the event loop was closed meanwhile
                self._loop.call_soon_threadsafe(self._arrived.set)

    def _poll(self) -> Sequence[Message]:
        try:
            first = self.client.poll(POLL_SECONDS)
            if time.monotonic() - self._looked_at >= ENDS_SECONDS:
                self._looked_at = time.monotonic()
                self.ends = {**self.ends, **ends_of(self.client)}
            if first is None:
                return ()
            return [first, *self.client.consume(MAX_MESSAGES - 1, 0)]
        except KafkaException as error:
            self._fatal = error
            return ()
