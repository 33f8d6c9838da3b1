"""The producer: librdkafka, because what is sent costs it a quarter of the CPU that aiokafka's producer takes."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Mapping
from functools import partial
from threading import Thread
from typing import Any

from confluent_kafka import KafkaError, KafkaException, Producer

from metroline.routing.errors import MetrolineError

OPEN_BYTES = 8 * 1024 * 1024
"""Bytes that may be unconfirmed; whoever sends more waits."""

GIVE_UP = 30.0
"""Seconds after which a message that no broker confirmed counts as not sent."""

POLL = 0.5
LAST_WAIT = 5.0
"""Seconds that closing waits for what is unconfirmed."""

LOG = logging.getLogger(__name__)


class NotSent(MetrolineError):
    """Raised when a message was not confirmed; it may be sent again."""


class TooLarge(NotSent):
    """Raised when a broker will never take a message of this size."""


class NoTopic(NotSent):
    """Raised when there is no such topic, or no such partition of it."""


KINDS: dict[int, type[NotSent]] = {
    KafkaError.MSG_SIZE_TOO_LARGE: TooLarge,
    KafkaError.UNKNOWN_TOPIC_OR_PART: NoTopic,
    KafkaError._UNKNOWN_TOPIC: NoTopic,
    KafkaError._UNKNOWN_PARTITION: NoTopic,
}

Answer = tuple[asyncio.Future[None], int, KafkaError | None]


class KafkaProducer:
    """Sends messages to given partitions, in order, and gives a future for each confirmation.

    It is idempotent: what it repeats by itself is written once and in its place.
    """

    def __init__(self, config: Mapping[str, Any], message_bytes: int) -> None:
        """`config` says where the brokers are and how to log in, in librdkafka's own names."""
        self._config = {
            **config,
            "enable.idempotence": True,
            "linger.ms": 0,
            "message.max.bytes": message_bytes,
            "message.timeout.ms": int(GIVE_UP * 1000),
            "log.connection.close": False,
        }
        self._client: Producer | None = None
        self._thread: Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._is_closed = False
        self._open = 0
        self._room = asyncio.Event()
        self._answers: deque[Answer] = deque()
        self._is_awake = False
        """Whether the event loop is about to take the answers."""

    async def send(self, topic: str, key: bytes | None, value: bytes, partition: int) -> asyncio.Future[None]:
        """Hands a message over; waits while too much is unconfirmed. The future fails with `NotSent` or `TooLarge`."""
        while self._open and self._open + len(value) > OPEN_BYTES:
            self._room.clear()
            await self._room.wait()
        loop = asyncio.get_running_loop()
        confirmation: asyncio.Future[None] = loop.create_future()
        delivered = partial(self._delivered, confirmation, len(value))
        if self._is_closed:
            confirmation.set_exception(NotSent("the producer is closed"))
            return confirmation
        try:
            self._running(loop).produce(topic, value, key, partition, on_delivery=delivered)
        except KafkaException as error:
            if error.args[0].code() == KafkaError._FATAL:
                self._begin_anew(self._client, error)
            confirmation.set_exception(_told(error.args[0]))
        except BufferError as error:
            confirmation.set_exception(NotSent(str(error)))
        else:
            self._open += len(value)
        return confirmation

    async def close(self) -> None:
        """Waits a while for what is unconfirmed, then ends; what is unconfirmed still counts as not sent."""
        self._is_closed = True
        client, thread, self._client = self._client, self._thread, None
        if client is not None and thread is not None:
            await asyncio.to_thread(client.flush, LAST_WAIT)
            client.purge()
            await asyncio.to_thread(thread.join)
            self._settle()

    def _running(self, loop: asyncio.AbstractEventLoop) -> Producer:
        if self._client is None:
            self._loop = loop
            self._client = Producer(self._config, logger=LOG)
            self._thread = Thread(target=self._poll, args=(self._client,), name="producer", daemon=True)
            self._thread.start()
        return self._client

    def _poll(self, client: Producer) -> None:
        """Takes the brokers' answers, in a thread of its own."""
        while self._client is client or len(client):
            try:
                client.poll(POLL)
            except KafkaException as error:  # a fatal one: what is under way is answered by the next polls, as not sent
                self._begin_anew(client, error)

    def _begin_anew(self, client: Producer | None, error: KafkaException) -> None:
        """Leaves a client that sends no more; the next message begins with a new one."""
        if self._client is client:
            LOG.warning("the producer begins anew: %s", error.args[0].str())
            self._client = None

    def _delivered(self, confirmation: asyncio.Future[None], size: int, error: KafkaError | None, _: Any) -> None:
        """Called in the thread; a burst of answers wakes the event loop once."""
        self._answers.append((confirmation, size, error))
        if not self._is_awake and self._loop is not None:
            self._is_awake = True
            self._loop.call_soon_threadsafe(self._settle)

    def _settle(self) -> None:
        self._is_awake = False  # first: an answer that comes from here on is taken below or wakes the loop once more
        while self._answers:
            confirmation, size, error = self._answers.popleft()
            self._open -= size
            if confirmation.cancelled():
                continue
            if error is None:
                confirmation.set_result(None)
                continue
            confirmation.set_exception(_told(error))
        self._room.set()


def _told(error: KafkaError) -> NotSent:
    kind = KINDS.get(error.code(), NotSent)
    return kind(f"{error.name()}: {error.str()}")
