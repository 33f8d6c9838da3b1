"""What the benchmark itself does on the bus: loads a source, watches what is delivered, counts what was written."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaException, Message, Producer, TopicPartition

PARTITIONS = 4
SILENCE = 1.0
"""Seconds without a message after which a topic counts as read to its end."""


class Sender:
    """Sends source messages, to each partition in turn."""

    def __init__(self, bootstrap: str, topic: str, linger_ms: int = 20) -> None:
        self.topic = topic
        self._producer = Producer(
            {
                "bootstrap.servers": bootstrap,
                "linger.ms": linger_ms,
                "enable.idempotence": True,
                "log_level": 3,
                "queue.buffering.max.messages": 2_000_000,
                "queue.buffering.max.kbytes": 2_000_000,
                "delivery.report.only.error": True,
                "on_delivery": _must_be_sent,
            }
        )
        self._sent = 0

    def send(self, message: bytes) -> None:
        self._producer.produce(self.topic, message, partition=self._sent % PARTITIONS)
        self._producer.poll(0)
        self._sent += 1

    def flush(self) -> None:
        """Returns when all is confirmed."""
        if left := self._producer.flush(60):
            raise TimeoutError(f"{left} source messages are not confirmed")

    def load(self, messages: Iterable[bytes]) -> None:
        for message in messages:
            self.send(message)
        self.flush()


def _must_be_sent(error: Any, message: Message) -> None:
    if error is not None:
        raise KafkaException(error)


@dataclass(frozen=True, slots=True)
class Arrival:
    """A delivered message, and when it was seen here (epoch seconds).

    Its own time says little: some systems carry the time of the source message on.
    """

    seen: float
    value: bytes


@dataclass(slots=True)
class Watch:
    """Reads the delivered topic in a thread of its own, and notes when the first record was passed on."""

    bootstrap: str
    first_hops: Sequence[str]
    """The topics to one of which a system writes what it took from the source."""
    delivered: str
    records_in: Callable[[bytes], int]
    """How many records a delivered message holds."""
    arrivals: list[Arrival] = field(default_factory=list)
    records: int = 0
    first: float | None = None
    """When a record was seen there for the first time, epoch seconds."""
    moved: float = 0.0
    """When something was seen last, on the monotonic clock."""
    _is_over: threading.Event = field(default_factory=threading.Event)
    _thread: threading.Thread | None = None
    failure: Exception | None = None

    def _run(self) -> None:
        consumer = reader(self.bootstrap)
        try:
            self._watch(consumer)
        except Exception as failure:  # noqa: BLE001 - whatever it is, the run that waits for it tells
            self.failure = failure
        finally:
            consumer.close()

    def _watch(self, consumer: Consumer) -> None:
        topics = {self.delivered, *self.first_hops}
        while not topics <= consumer.list_topics(timeout=10).topics.keys():
            if self._is_over.wait(0.1):
                return
        assign(consumer, topics)
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
                self.moved = time.monotonic()
            if self.first is not None and len(topics) > 1:
                consumer.incremental_unassign(partitions_of(topics - {self.delivered}))
                topics = {self.delivered}

    def _take(self, message: Message, now: float) -> None:
        if message.topic() == self.delivered:
            value = message.value() or b""
            self.arrivals.append(Arrival(now, value))
            self.records += self.records_in(value)
        elif self.first is None:
            self.first = now

    def __enter__(self) -> Self:
        self.moved = time.monotonic()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._is_over.set()
        if self._thread is not None:
            self._thread.join()


def reader(bootstrap: str) -> Consumer:
    """A consumer without a group that sees at once what is there."""
    return Consumer(
        {
            "bootstrap.servers": bootstrap,
            "group.id": "metroline-benchmark",
            "enable.auto.commit": False,
            "fetch.wait.max.ms": 10,
            "fetch.queue.backoff.ms": 10,
        }
    )


def partitions_of(topics: Iterable[str]) -> list[TopicPartition]:
    return [TopicPartition(topic, number) for topic in topics for number in range(PARTITIONS)]


def assign(consumer: Consumer, topics: Iterable[str]) -> None:
    """Reads these topics from their beginnings."""
    wanted = partitions_of(topics)
    for partition in wanted:
        partition.offset = OFFSET_BEGINNING
    consumer.assign(wanted)


def count_written(bootstrap: str, prefix: str) -> tuple[int, int]:
    """Messages and bytes (keys and values) in all topics below a prefix."""
    consumer = reader(bootstrap)
    messages = size = 0
    try:
        described = consumer.list_topics(timeout=10).topics
        consumer.assign(
            [
                TopicPartition(name, number, OFFSET_BEGINNING)
                for name, topic in described.items()
                if name.startswith(f"{prefix}.")
                for number in topic.partitions
            ]
        )
        heard = time.monotonic()
        while time.monotonic() - heard < SILENCE:
            for message in consumer.consume(5_000, 0.1):
                if message.error() is None:
                    messages += 1
                    size += len(message.value() or b"") + len(message.key() or b"")
                    heard = time.monotonic()
    finally:
        consumer.close()
    return messages, size
