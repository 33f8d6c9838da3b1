"""A confluent-kafka loop: one consumer of all topics, which stores offsets after a batch is confirmed."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import orjson
from confluent_kafka import Consumer, KafkaException, Producer, TopicPartition

from benchmarks.peers.stops import (
    AT_LOAD,
    BROKER,
    BY_TOPIC,
    COMMIT_MS,
    FETCH_WAIT_MS,
    GROUP,
    HEARTBEAT_MS,
    REBALANCE_MS,
    SESSION_MS,
    report_drops_at_exit,
)

BATCH = 10_000
FIRST_MESSAGE_SECONDS = 0.2
FULL_BATCH_SECONDS = 0.2 if AT_LOAD else 0.0
"""Time to wait for a full batch after the first message: fewer and larger batches cost less."""


def run(topics: list[str], pass_on: Callable[[list[Any]], Iterable[tuple[str, bytes, int]]]) -> None:
    """Read these topics; `pass_on` returns the topic, the value and the partition of each message to write."""
    consumer = Consumer(
        {
            "bootstrap.servers": BROKER,
            "group.id": GROUP,
            "auto.offset.reset": "earliest",
            "enable.auto.offset.store": False,
            "auto.commit.interval.ms": COMMIT_MS,
            "fetch.wait.max.ms": FETCH_WAIT_MS,
            "session.timeout.ms": SESSION_MS,
            "heartbeat.interval.ms": HEARTBEAT_MS,
            "max.poll.interval.ms": max(SESSION_MS, REBALANCE_MS),
        }
    )
    producer = Producer(
        {
            "bootstrap.servers": BROKER,
            "enable.idempotence": True,
            "linger.ms": 5,
            "queue.buffering.max.messages": 1_000_000,
            "delivery.report.only.error": True,
        }
    )
    consumer.subscribe(topics)
    try:
        while True:
            messages = consumer.consume(1, FIRST_MESSAGE_SECONDS)
            if messages:
                messages += consumer.consume(BATCH - 1, FULL_BATCH_SECONDS)
                for following, value, partition in pass_on(messages):
                    producer.produce(following, value, partition=partition)
                if producer.flush(30):
                    raise SystemExit("the broker does not confirm messages within 30 s")
                consumer.store_offsets(offsets=_next_offsets(messages))
    finally:
        consumer.close()


def hop(messages: list[Any]) -> Iterator[tuple[str, bytes, int]]:
    """Take each record through the function of the topic that it came from."""
    for message in messages:
        if error := message.error():
            raise KafkaException(error)
        handler, following = BY_TOPIC[message.topic()]
        record = handler(orjson.loads(message.value()))
        if record is not None:
            yield following, orjson.dumps(record), message.partition()


def _next_offsets(messages: list[Any]) -> list[TopicPartition]:
    """Return the next offset of each partition after these messages."""
    last = {(message.topic(), message.partition()): message.offset() + 1 for message in messages}
    return [TopicPartition(topic, partition, offset) for (topic, partition), offset in last.items()]


if __name__ == "__main__":
    report_drops_at_exit()
    run(list(BY_TOPIC), hop)
