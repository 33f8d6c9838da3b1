"""Sends source messages at a steady rate, whatever becomes of them (open loop)."""

from __future__ import annotations

import threading
import time
from array import array
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from typing import Any

from confluent_kafka import KafkaError, KafkaException, Message, Producer

from metroline.app.compare.plan import RunFailed

LINGER_MS = 5
"""Kafka's default."""
TICK_SECONDS = 0.001
"""Shortest sleep: at high rates, the messages of a millisecond are sent together."""
POLL_EVERY = 100
FLUSH_SECONDS = 60.0


class PacedSource:
    """A producer of one topic that sends each message when it is due, to each partition in turn.

    The schedule never waits for the system under test: a message that is late is sent at once, and its due time
    remains what it was. Latency counted from the due time therefore includes any delay (no coordinated omission).
    """

    def __init__(
        self,
        librdkafka: Mapping[str, str],
        topic: str,
        partitions: int,
        attributes: Sequence[Mapping[str, Any]] = (),
    ) -> None:
        """`attributes` are the key, headers and timestamp of each message, as parameters of aiokafka's producer.

        They begin again where the messages do; without any, messages have none.
        """
        self.topic = topic
        self.partitions = partitions
        self.due: dict[tuple[int, int], float] = {}
        """When each confirmed message of the last call of `send` was due, by partition and offset, in epoch seconds."""
        self.lateness = array("d")
        """Seconds after its due time at which each message of the last call was handed to the producer."""
        self._more = [_for_librdkafka(each) for each in attributes]
        self.is_over = threading.Event()
        """Ends `send` early when set."""
        self._sent = 0
        self._error: KafkaError | None = None
        self._producer = Producer(
            {
                **librdkafka,
                "linger.ms": LINGER_MS,
                "enable.idempotence": True,
                "log_level": 0,  # what it cannot deliver is raised
                "queue.buffering.max.messages": 2_000_000,
                "queue.buffering.max.kbytes": 2_000_000,
            }
        )

    def send(self, messages: Iterable[tuple[bytes, int]], rate: float, started_at: float) -> None:
        """Send messages, each given with the number of its records, and wait until all are confirmed.

        `rate` is in records per second; the first message is due at `started_at`, in epoch seconds. Raise `RunFailed`
        if the broker does not take a message.
        """
        self.due, self.lateness = {}, array("d")
        records = 0
        for number, (message, count) in enumerate(messages):
            due = started_at + records / rate
            self._wait(due)
            if self.is_over.is_set():
                return
            self.lateness.append(time.time() - due)
            self._produce(message, due, self._more[number % len(self._more)] if self._more else {})
            records += count
        unconfirmed = self._producer.flush(FLUSH_SECONDS)
        if unconfirmed or self._error is not None:
            reason = self._error.str() if self._error is not None else f"{unconfirmed} messages are not confirmed"
            raise RunFailed(f"{self.topic}: the broker does not take the source messages: {reason}")

    def _wait(self, due: float) -> None:
        wait = due - time.time()
        if wait > 0:
            self._producer.poll(0)
            self.is_over.wait(max(wait, TICK_SECONDS))
        elif self._sent % POLL_EVERY == 0:
            self._producer.poll(0)

    def _produce(self, message: bytes, due: float, more: Mapping[str, Any]) -> None:
        partition = self._sent % self.partitions
        confirmed = partial(self._confirmed, due)
        try:
            self._producer.produce(self.topic, message, partition=partition, on_delivery=confirmed, **more)
        except KafkaException as error:  # known without asking the broker: there is no such partition
            self._error = error.args[0]
        self._sent += 1

    def _confirmed(self, due: float, error: KafkaError | None, message: Message) -> None:
        partition, offset = message.partition(), message.offset()
        if error is not None:
            self._error = error
        elif partition is not None and offset is not None:
            self.due[partition, offset] = due


def _for_librdkafka(attributes: Mapping[str, Any]) -> dict[str, Any]:
    """Return key, headers and timestamp of a message as librdkafka's producer takes them."""
    at = attributes["timestamp_ms"]
    return {"key": attributes["key"], "headers": attributes["headers"], **({} if at is None else {"timestamp": at})}
