"""Watches the delivered topic of a system, and counts what it wrote to its topics."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaException, Message, TopicPartition

from benchmarks.systems.source_producer import PARTITIONS

NOT_COUNTED = (".pulses", ".journal")
"""Endings of the names of the topics of live figures and of notes on workers that start and stop."""

SILENCE_SECONDS = 1.0
"""Time without a message after which a topic counts as read to its end."""
METADATA_SECONDS = 10


@dataclass(frozen=True, slots=True)
class Delivery:
    """A delivered message and the time at which the harness saw it, in epoch seconds.

    The message's own timestamp is of no use: some systems copy that of the source message.
    """

    seen_at: float
    value: bytes


@dataclass(slots=True)
class DeliveryWatch:
    """Reads the delivered topic in a thread of its own, and notes when a system passed its first record on."""

    bootstrap: str
    first_topics: Sequence[str]
    """The topics to which a system can write a record that it took from the source, beside the delivered topic."""
    delivered: str
    count_records: Callable[[bytes], int]
    """Returns the number of records in a delivered message."""
    partitions: int = PARTITIONS
    """Partitions of each of these topics."""
    deliveries: list[Delivery] = field(default_factory=list)
    records: int = 0
    first_seen_at: float | None = None
    """Time of the first record in any of these topics, in epoch seconds."""
    last_seen_at: float = 0.0
    """Time of the last message, on the monotonic clock."""
    failure: Exception | None = None
    _is_over: threading.Event = field(default_factory=threading.Event)
    _thread: threading.Thread | None = None

    def _run(self) -> None:
        consumer = new_consumer(self.bootstrap)
        try:
            self._watch(consumer)
        except Exception as failure:  # noqa: BLE001 - the run that waits for deliveries reports any failure
            self.failure = failure
        finally:
            consumer.close()

    def _watch(self, consumer: Consumer) -> None:
        topics = {self.delivered, *self.first_topics}
        while not topics <= consumer.list_topics(timeout=METADATA_SECONDS).topics.keys():
            if self._is_over.wait(0.1):
                return
        read_from_beginning(consumer, topics, self.partitions)
        while not self._is_over.is_set():
            messages = consumer.consume(1, 0.02)
            if messages:
                messages += consumer.consume(5_000, 0)
            now = time.time()
            for message in messages:
                if message.error():
                    raise KafkaException(message.error())
                self._take(message, now)
            if messages:
                self.last_seen_at = time.monotonic()
            if self.first_seen_at is not None and len(topics) > 1:
                consumer.incremental_unassign(partitions_of(topics - {self.delivered}, self.partitions))
                topics = {self.delivered}

    def _take(self, message: Message, now: float) -> None:
        if self.first_seen_at is None:
            self.first_seen_at = now
        if message.topic() == self.delivered:
            value = message.value() or b""
            self.deliveries.append(Delivery(now, value))
            self.records += self.count_records(value)

    def take(self) -> list[Delivery]:
        """Return the deliveries since the last call, and forget them."""
        taken, self.deliveries = self.deliveries, []
        return taken

    def __enter__(self) -> Self:
        self.last_seen_at = time.monotonic()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._is_over.set()
        if self._thread is not None:
            self._thread.join()


def new_consumer(bootstrap: str) -> Consumer:
    """Return a consumer that commits nothing and fetches with little delay."""
    return Consumer(
        {
            "bootstrap.servers": bootstrap,
            "group.id": "metroline-benchmark",
            "enable.auto.commit": False,
            "fetch.wait.max.ms": 10,
            "fetch.queue.backoff.ms": 10,
        }
    )


def partitions_of(topics: Iterable[str], partitions: int) -> list[TopicPartition]:
    return [TopicPartition(topic, number) for topic in topics for number in range(partitions)]


def read_from_beginning(consumer: Consumer, topics: Iterable[str], partitions: int) -> None:
    """Assign all partitions of these topics, from their beginnings."""
    assigned = partitions_of(topics, partitions)
    for partition in assigned:
        partition.offset = OFFSET_BEGINNING
    consumer.assign(assigned)


class WrittenMessages:
    """Counts the messages in all topics whose names start with a prefix, without the workers' live figures and notes.

    These come every second and at each start, whether there are records or not. The messages are read, since the embedded broker's
    ListOffsets does not answer the end of a topic.
    """

    def __init__(self, bootstrap: str, prefix: str) -> None:
        self._bootstrap = bootstrap
        self._prefix = f"{prefix}."
        self._next: dict[tuple[str, int], int] = {}
        """The next offset to read, by topic and partition."""

    def count(self) -> tuple[int, int]:
        """Return the number of messages and of bytes (keys and values) that were written since the last call."""
        consumer = new_consumer(self._bootstrap)
        messages = size = 0
        try:
            consumer.assign(self._partitions(consumer))
            last_seen_at = time.monotonic()
            while time.monotonic() - last_seen_at < SILENCE_SECONDS:
                for message in consumer.consume(5_000, 0.1):
                    if message.error() is None:
                        messages += 1
                        size += len(message.value() or b"") + len(message.key() or b"")
                        self._next[message.topic() or "", message.partition() or 0] = (message.offset() or 0) + 1
                        last_seen_at = time.monotonic()
        finally:
            consumer.close()
        return messages, size

    def _partitions(self, consumer: Consumer) -> list[TopicPartition]:
        return [
            TopicPartition(name, number, self._next.get((name, number), OFFSET_BEGINNING))
            for name, topic in consumer.list_topics(timeout=METADATA_SECONDS).topics.items()
            if name.startswith(self._prefix) and not name.endswith(NOT_COUNTED)
            for number in topic.partitions
        ]
