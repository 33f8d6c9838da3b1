"""The workers' producer: librdkafka, which needs a quarter of the CPU of aiokafka's producer."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from itertools import count
from threading import Thread
from typing import Any

from confluent_kafka import KafkaError, KafkaException, Producer

from metroline.agents.kafka.complaints import Complaints, library_log
from metroline.routing.errors import MetrolineError

Confirmation = asyncio.Future[None]
"""Done when the brokers have a message."""

MAX_OPEN_BYTES = 8 * 1024 * 1024
"""Bytes that may be unconfirmed. A sender that exceeds them waits."""

GIVE_UP_SECONDS = 30.0
"""Time after which a message that no broker confirmed counts as not sent."""

POLL_SECONDS = 0.5
"""Time that the producer's thread waits for answers of the brokers."""

LINGER_MS = 0
"""Time that a message waits for others to share a request. Those that a look makes share one anyway: they are produced
while the thread that sends them wakes up. With 1 ms, each hop took 1.7 ms longer, and no CPU was spared."""

ASK_SECONDS = 10.0
"""Time that the brokers have to tell the partitions of a topic."""

FLUSH_SECONDS = 5.0
"""Time that closing waits for unconfirmed messages."""

log = logging.getLogger(__name__)


class NotSent(MetrolineError):
    """Raised when a message was not confirmed. It may be sent again."""


class TooLarge(NotSent):
    """Raised when a broker refuses a message for its size."""


class NoTopic(NotSent):
    """Raised when the topic or the partition does not exist."""


class UnknownPartition(Exception):
    """Raised when a client does not know a partition."""

    def __init__(self, client: Producer, error: KafkaError) -> None:
        super().__init__(error)
        self.client = client
        self.error = error


class ProducerClosed(NotSent):
    """Raised when a message is sent by a worker that has stopped. Sending it again is of no use."""


ERRORS: dict[int, type[NotSent]] = {
    KafkaError.MSG_SIZE_TOO_LARGE: TooLarge,
    KafkaError.UNKNOWN_TOPIC_OR_PART: NoTopic,
    KafkaError._UNKNOWN_TOPIC: NoTopic,
    KafkaError._UNKNOWN_PARTITION: NoTopic,
}

REFUSED_MESSAGE = frozenset(
    {KafkaError.MSG_SIZE_TOO_LARGE, KafkaError.INVALID_RECORD, KafkaError.INVALID_TIMESTAMP},
)
"""Errors with which a broker refuses messages for what they are: it has not written them, and never will."""

REFUSED_PRODUCER = frozenset(
    {
        KafkaError.PRODUCER_FENCED,
        KafkaError.INVALID_PRODUCER_EPOCH,
        KafkaError.UNKNOWN_PRODUCER_ID,
        KafkaError.INVALID_PRODUCER_ID_MAPPING,
        KafkaError.OUT_OF_ORDER_SEQUENCE_NUMBER,
    }
)
"""Errors of a message with which a broker refuses the producer, and will refuse all that it sends.

Tansu does once a message has timed out: librdkafka then continues with an epoch that Tansu did not give out.
"""

Answer = tuple[Confirmation, int, NotSent | None]
"""A confirmation, the size of what was sent, and the error if it was not."""

KeyedMessage = tuple[bytes | None, bytes | None, int, int, list[tuple[str, str | bytes | None]]]
"""A message with value, key, partition, timestamp (milliseconds since the epoch) and headers.

With `BY_KEY` as partition, its key decides, as with Java's client. With `NOW` as timestamp, it gets the current time.
"""

BY_KEY, NOW = -1, 0

MESSAGE_BYTES = 100
"""Bytes that a message takes in addition to its value while it is unconfirmed."""


class SomeNotSent(NotSent):
    """Raised when some of several messages were not confirmed. It has those that may be sent again."""

    def __init__(self, text: str, messages: Sequence[KeyedMessage], *, are_refused: bool = False) -> None:
        """With `are_refused`, a broker has refused all of them, and each was changed if that may help."""
        super().__init__(text)
        self.messages = messages
        self.are_refused = are_refused


class _Together:
    """Messages that were sent together, and the answers to them."""

    __slots__ = ("_answered", "_done", "_failed", "confirmation", "failed", "messages", "size")

    def __init__(
        self,
        messages: Sequence[KeyedMessage],
        confirmation: Confirmation,
        failed: Callable[[KafkaError], None],
        done: Callable[[Answer], None],
    ) -> None:
        """`failed` is called with the error of each that was not sent, `done` with the answer to all of them."""
        self.messages = messages
        self.confirmation = confirmation
        self.size = _size(messages)
        self.failed: dict[int, KafkaError] = {}
        self._failed = failed
        self._done = done
        self._answered = count(1)

    def answer(self, place: int, error: KafkaError | None, _: Any = None) -> None:
        """Note the answer to a message. Called in several threads, of which one gets the last number."""
        if error is not None:
            self.failed[place] = error
            self._failed(error)
        if next(self._answered) == len(self.messages):
            self._done((self.confirmation, self.size, self._error()))

    def _error(self) -> NotSent | None:
        """Return the error with the messages to be sent again; None if all are confirmed."""
        if not self.failed:
            return None
        unsent = [_again(self.messages[place], error) for place, error in sorted(self.failed.items())]
        first = self.failed[min(self.failed)]
        are_refused = all(error.code() in REFUSED_MESSAGE for error in self.failed.values())
        text = f"{len(unsent)} of {len(self.messages)} messages: {_as_error(first)}"
        return SomeNotSent(text, unsent, are_refused=are_refused)


def _size(messages: Sequence[KeyedMessage]) -> int:
    """Return the bytes that messages take while they are unconfirmed."""
    return sum([len(message[0] or b"") for message in messages]) + MESSAGE_BYTES * len(messages)


def _again(message: KeyedMessage, error: KafkaError) -> KeyedMessage:
    """Return a message that failed as it is sent again.

    It gets the current time if the broker does not accept its timestamp; of several such messages in a batch the broker
    says only that they are invalid. A compacted topic accepts no message without a key: there it gets the value of its
    last header, which is the record's id.
    """
    value, key, partition, at, headers = message
    if error.code() in (KafkaError.INVALID_TIMESTAMP, KafkaError.INVALID_RECORD) and at != NOW:
        return value, key, partition, NOW, headers
    if error.code() == KafkaError.INVALID_RECORD and key is None and headers:
        own_id = headers[-1][1]
        return value, own_id.encode() if isinstance(own_id, str) else own_id, partition, at, headers
    return message


class KafkaProducer:
    """Sends messages, in order within a partition.

    It is idempotent: messages that it sends again by itself are written once, in order.
    """

    def __init__(self, config: Mapping[str, Any], message_bytes: int) -> None:
        """Take address and login as configuration of librdkafka, and the size limit of a message."""
        self._config = {
            **config,
            "enable.idempotence": True,
            "partitioner": "murmur2",  # of Java's client; for messages without a given partition
            "linger.ms": LINGER_MS,
            "message.max.bytes": message_bytes,
            "message.timeout.ms": int(GIVE_UP_SECONDS * 1000),
            **Complaints("producer").config,
        }
        self._client: Producer | None = None
        self._thread: Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._is_closed = False
        self._broken: Producer | None = None
        self._open_bytes = 0
        self._room = asyncio.Event()
        self._answers: deque[Answer] = deque()
        self._is_awake = False
        """True from when the event loop is woken until it takes the answers."""

    def begin(self) -> None:
        """Connect now, so that the first message need not wait for it: for half a second, with librdkafka."""
        if self._client is None:
            self._open()

    async def send(self, topic: str, key: bytes | None, value: bytes, partition: int) -> Confirmation:
        """Send a message. Wait before while too many bytes are unconfirmed.

        The confirmation fails with `NotSent`, or its subclasses `TooLarge` and `NoTopic`.
        """
        await self._wait_for_room(len(value))
        try:
            return self._produce(topic, key, value, partition)
        except UnknownPartition as unknown:  # the topic may have gained it since the client asked last
            await asyncio.to_thread(_ask_for_partitions, unknown.client, topic)
        try:
            return self._produce(topic, key, value, partition)
        except UnknownPartition as unknown:
            return _failed(_as_error(unknown.error))

    def _produce(self, topic: str, key: bytes | None, value: bytes, partition: int) -> Confirmation:
        """Send a message; raise `UnknownPartition` if the client does not know the partition."""
        if self._is_closed:
            return _failed(ProducerClosed("the producer is closed"))
        loop = asyncio.get_running_loop()
        confirmation: Confirmation = loop.create_future()
        client = self._client_on(loop)
        delivered = partial(self._delivered, client, confirmation, len(value))
        try:
            client.produce(topic, value, key, partition, on_delivery=delivered)
        except KafkaException as error:
            if error.args[0].code() == KafkaError._UNKNOWN_PARTITION:
                raise UnknownPartition(client, error.args[0]) from error
            return _failed(_as_error(self._refused(error)))
        except BufferError as error:
            return _failed(_as_error(self._refused(error)))
        self._open_bytes += len(value)
        return confirmation

    async def send_all(self, topic: str, messages: Sequence[KeyedMessage]) -> Confirmation:
        """Send at least one message, with one confirmation for all. Wait before while too many bytes are unconfirmed.

        The confirmation fails with `SomeNotSent`, or `ProducerClosed`.
        """
        loop = asyncio.get_running_loop()
        await self._wait_for_room(_size(messages))
        if self._is_closed:
            return _failed(ProducerClosed("the producer is closed"))
        client = self._client_on(loop)
        together = _Together(messages, loop.create_future(), partial(self._replace_refused, client), self._answer)
        self._open_bytes += together.size
        answer = together.answer
        asks_anew = False
        for place, (value, key, partition, timestamp, headers) in enumerate(messages):
            answered = partial(answer, place)
            try:
                client.produce(topic, value, key, partition, on_delivery=answered, timestamp=timestamp, headers=headers)
            except (KafkaException, BufferError) as error:
                refusal = self._refused(error)
                asks_anew |= refusal.code() == KafkaError._UNKNOWN_PARTITION
                answer(place, refusal)
        if asks_anew:  # the topic may have gained partitions since the client asked last; the next attempt uses them
            await asyncio.to_thread(_ask_for_partitions, client, topic)
        return together.confirmation

    async def _wait_for_room(self, size: int) -> None:
        while self._open_bytes and self._open_bytes + size > MAX_OPEN_BYTES:
            self._room.clear()
            await self._room.wait()

    def _refused(self, error: KafkaException | BufferError) -> KafkaError:
        """Return the reason why the client does not take a message; discard the client if it is broken."""
        if isinstance(error, BufferError):
            return KafkaError(KafkaError._QUEUE_FULL, str(error))
        refusal: KafkaError = error.args[0]
        if refusal.code() == KafkaError._FATAL:
            self._discard(self._client, refusal)
        return refusal

    async def close(self) -> None:
        """Flush for at most `FLUSH_SECONDS`, then close. Messages that are still unconfirmed fail with `NotSent`."""
        self._is_closed = True
        client, thread, self._client = self._client, self._thread, None
        if client is not None and thread is not None:
            await asyncio.to_thread(client.flush, FLUSH_SECONDS)
            client.purge()
            await asyncio.to_thread(thread.join)
            self._settle()

    def _client_on(self, loop: asyncio.AbstractEventLoop) -> Producer:
        """Return the client, a new one if it is broken.

        It is replaced here alone, in the event loop, so that no client gets a message after its thread has ended.
        """
        self._loop = loop
        client = self._client
        return self._open() if client is None or client is self._broken else client

    def _open(self) -> Producer:
        """Create a client, and a thread that receives its answers."""
        client = self._client = Producer(self._config, logger=library_log)
        self._thread = Thread(target=self._poll, args=(client,), name="producer", daemon=True)
        self._thread.start()
        return client

    def _poll(self, client: Producer) -> None:
        """Receive the brokers' answers. Runs in a thread of its own."""
        while self._client is client or len(client):
            try:
                client.poll(POLL_SECONDS)
            except KafkaException as error:  # fatal: the next polls answer open messages as not sent
                self._discard(client, error.args[0])

    def _replace_refused(self, client: Producer, error: KafkaError) -> None:
        """Discard a client that the brokers refuse. Called in the thread, with the error of a message."""
        if error.code() in REFUSED_PRODUCER:
            self._discard(client, error)

    def _discard(self, client: Producer | None, error: KafkaError) -> None:
        """Have the next message create a new client, after an error that is fatal to this one."""
        if client is self._client and client is not self._broken:
            log.warning("the producer had a fatal error and is replaced: %s", error.str())
            self._broken = client

    def _delivered(
        self, client: Producer, confirmation: Confirmation, size: int, error: KafkaError | None, _: Any
    ) -> None:
        """Queue the answer to a message. Called in the thread."""
        if error is not None:
            self._replace_refused(client, error)
        self._answer((confirmation, size, None if error is None else _as_error(error)))

    def _answer(self, answer: Answer) -> None:
        """Queue an answer; a burst of answers wakes the event loop once."""
        self._answers.append(answer)
        if not self._is_awake and self._loop is not None:
            self._is_awake = True
            self._loop.call_soon_threadsafe(self._settle)

    def _settle(self) -> None:
        self._is_awake = False  # first: an answer that arrives from now on is taken below or wakes the loop again
        while self._answers:
            confirmation, size, error = self._answers.popleft()
            self._open_bytes -= size
            if confirmation.cancelled():
                continue
            if error is None:
                confirmation.set_result(None)
                continue
            confirmation.set_exception(error)
        self._room.set()


def _ask_for_partitions(client: Producer, topic: str) -> None:
    """Have a client learn the partitions of a topic; it then knows no more than before if no broker answers."""
    with suppress(KafkaException):
        client.list_topics(topic, ASK_SECONDS)


def _failed(error: NotSent) -> Confirmation:
    confirmation: Confirmation = asyncio.get_running_loop().create_future()
    confirmation.set_exception(error)
    return confirmation


def _as_error(error: KafkaError) -> NotSent:
    kind = ERRORS.get(error.code(), NotSent)
    return kind(f"{error.name()}: {error.str()}")


async def all_of(confirmations: Iterable[Confirmation]) -> None:
    """Wait for all confirmations, in order; raise the error of the first that failed."""
    for confirmation in confirmations:
        await confirmation
