"""The gateway in front of the source topic, for a line whose records come from a queue of SQS.

Workers that play the on-ramp run it, so that everything behind the source topic is a line like any other.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Collection, Mapping, Sequence
from itertools import count
from typing import Any

from mode import Service

from metroline.agents.delivery.shipping import Producer
from metroline.agents.gateways.sqs.client import opened
from metroline.agents.gateways.sqs.options import SqsSource
from metroline.agents.gateways.sqs.received import ID_HEADER, SourceMessage
from metroline.agents.gateways.sqs.receiver import NotPut, SqsReceiver
from metroline.agents.kafka.cluster import Cluster, ClusterError
from metroline.agents.kafka.producer import KeyedMessage, NotSent, SomeNotSent
from metroline.agents.kafka.topic_tail import TopicTail
from metroline.routing.errors import MetrolineError

RETRY_SECONDS = 1.0
"""Time between two attempts to read the source topic."""

MOST_IDS = 1_000_000
"""Message ids that are kept to recognize messages that are received again."""

HEADROOM_BYTES = 1024
"""Bytes that a message takes beside key, value and headers."""

CHANGES = 2
"""Changes with which the producer may make a broker accept a message: of its timestamp and of its key."""

log = logging.getLogger(__name__)


class KafkaSourceTopic:
    """Writes to the source topic, and finds the messages that it has already."""

    def __init__(
        self,
        producer: Producer,
        cluster: Cluster,
        topic: str,
        partitions: Callable[[], int | None],
        message_bytes: Callable[[], int],
    ) -> None:
        """`partitions` returns the number of partitions, None until it is known; `message_bytes` the size limit."""
        self._producer = producer
        self._topic = topic
        self._partitions = partitions
        self._message_bytes = message_bytes
        self._tail = TopicTail(cluster, topic)
        self._ids: set[str] = set()
        self._since: int | None = None
        """The time from which on all ids are known, in milliseconds since the epoch."""
        self._reading = asyncio.Lock()

    async def put(self, messages: Sequence[SourceMessage]) -> Mapping[str, str]:
        """Write messages, and return the reason for each that the brokers refuse for what it is, by its id.

        Raise `NotPut` unless the brokers have confirmed all others. Messages that they refuse are sent as the producer
        changes them, such as with the current time, and each alone at the end: one at fault has them refuse its batch.
        """
        partitions = self._partitions() or 1
        left: Sequence[KeyedMessage] = [
            (one.value, one.key, one.spread % partitions, one.timestamp, one.headers) for one in messages
        ]
        for _ in range(CHANGES + 1):
            error = await self._refusal(left)
            if error is None:
                return {}
            left = error.messages
        alone = [(one, await self._refusal([one])) for one in left]
        return {_id_of(one): str(error) for one, error in alone if error is not None}

    async def _refusal(self, messages: Sequence[KeyedMessage]) -> SomeNotSent | None:
        """Write messages; return the error with those that a broker refuses, raise `NotPut` for any other error."""
        try:
            await (await self._producer.send_all(self._topic, messages))
        except SomeNotSent as error:
            if error.are_refused:
                return error
            raise NotPut(str(error)) from error
        except NotSent as error:
            raise NotPut(str(error)) from error
        return None

    async def holds(self, ids: Collection[str], since: int) -> frozenset[str]:
        """Return those of these message ids that the topic holds; wait for the brokers."""
        for attempt in count():
            try:
                async with self._reading:
                    await asyncio.to_thread(self._read, since)
                    return frozenset(self._ids.intersection(ids))
            except ClusterError as error:
                log.log(
                    logging.DEBUG if attempt else logging.WARNING,
                    "messages that were received again wait until the source topic can be read: %s",
                    error,
                )
            await asyncio.sleep(RETRY_SECONDS)
        raise AssertionError

    def fits(self, message: SourceMessage) -> bool:
        """Return whether the topic takes a message of this size."""
        return message.size + HEADROOM_BYTES <= self._message_bytes()

    def _read(self, since: int) -> None:
        """Read the ids of all messages since a time, up to the present end of the topic."""
        if self._since is None or since < self._since or len(self._ids) > MOST_IDS:
            self._ids.clear()
            self._since = None
            self._tail.begin_at_time(since)
            self._since = since
        for messages in self._tail.read():
            for message in messages:
                for name, value in reversed(message.headers() or ()):
                    if name == ID_HEADER and value is not None:
                        self._ids.add(value.decode("utf-8", "replace") if isinstance(value, bytes) else value)
                        break


def _id_of(message: KeyedMessage) -> str:
    """Return the message id in the headers of a message for the source topic."""
    return next(str(value) for name, value in reversed(message[4]) if name == ID_HEADER)


class SourceGateway(Service):
    """Receives from a queue as long as the worker runs. It ends the worker if the queue cannot be used at the start."""

    def __init__(self, options: SqsSource, topic: KafkaSourceTopic, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.options = options
        self._topic = topic
        self.receiver: SqsReceiver | None = None
        """None until the client is open."""

    @Service.task
    async def _receive(self) -> None:
        try:
            async with opened(self.options, 2 * self.options.receivers + 4) as client:
                self.receiver = SqsReceiver(client, self._topic, self.options.receivers)
                if not self.should_stop:
                    await self.receiver.run()
        except MetrolineError as error:
            await self.crash(error)

    async def on_stop(self) -> None:
        """Receive nothing more, and finish the messages in hand."""
        if self.receiver is not None:
            self.receiver.stop()
            await self.receiver.ended.wait()
