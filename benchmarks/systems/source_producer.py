"""Produces source messages."""

from __future__ import annotations

from collections.abc import Iterable

from confluent_kafka import KafkaError, KafkaException, Message, Producer

PARTITIONS = 4
"""Partitions of a topic, unless a trial says otherwise."""
FLUSH_SECONDS = 60


class SourceProducer:
    """Produces source messages to each partition in turn."""

    def __init__(self, bootstrap: str, topic: str, linger_ms: int = 20, partitions: int = PARTITIONS) -> None:
        self.topic = topic
        self.partitions = partitions
        self._producer = Producer(
            {
                "bootstrap.servers": bootstrap,
                "linger.ms": linger_ms,
                "enable.idempotence": True,
                "log_level": 3,
                "queue.buffering.max.messages": 2_000_000,
                "queue.buffering.max.kbytes": 2_000_000,
                "delivery.report.only.error": True,
                "on_delivery": _raise_error,
            }
        )
        self._sent = 0

    def send(self, message: bytes) -> None:
        self._producer.produce(self.topic, message, partition=self._sent % self.partitions)
        self._producer.poll(0)
        self._sent += 1

    def flush(self) -> None:
        """Wait until all messages are confirmed."""
        if left := self._producer.flush(FLUSH_SECONDS):
            raise TimeoutError(f"{left} source messages are not confirmed within {FLUSH_SECONDS} s")

    def load(self, messages: Iterable[bytes]) -> None:
        """Send messages and wait until they are confirmed."""
        for message in messages:
            self.send(message)
        self.flush()


def _raise_error(error: KafkaError | None, message: Message) -> None:
    if error is not None:
        raise KafkaException(error)
