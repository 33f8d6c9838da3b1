"""One confluent-kafka loop without hops: source, all functions of the line, delivered topic.

It does what a line does with no topic between its stops: the least that this work can cost in Python.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import orjson
from confluent_kafka import KafkaException

from benchmarks.peers import raw_confluent
from benchmarks.peers.stops import SOURCE, STOPS, Record, report_drops_at_exit, topic

HANDLERS = [handler for handler, _ in STOPS.values()]


def carry(record: Record | None) -> Record | None:
    """Take a record through all functions; return None if one of them drops it."""
    for handler in HANDLERS:
        if record is None:
            return None
        record = handler(record)
    return record


def delivered(messages: list[Any]) -> Iterator[tuple[str, bytes, int]]:
    for message in messages:
        if error := message.error():
            raise KafkaException(error)
        record = carry(orjson.loads(message.value()))
        if record is not None:
            yield topic("delivered"), orjson.dumps(record), message.partition()


if __name__ == "__main__":
    report_drops_at_exit()
    raw_confluent.run([SOURCE], delivered)
