"""The flow of a line that runs: the latest records of its source topic, and how many come each second. Blocks."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from confluent_kafka import Message

from metroline.agents.kafka.cluster import Cluster
from metroline.agents.kafka.topic_tail import TopicTail
from metroline.routing.errors import MetrolineError

MOST_MESSAGES = 1_000
"""Messages of each partition that are read."""


FUTURE_SECONDS = 60.0
"""Time by which the clock of a client that wrote a message may be ahead of ours."""


class NoFlow(MetrolineError):
    """Raised when a source topic has no messages that show which records come, or how many each second."""


class Flow(NamedTuple):
    """Records, in the order in which they were written, and their rate."""

    records: list[bytes]
    rate: float
    """Records per second."""


def recent_flow(cluster: Cluster, topic: str, rate: float | None = None) -> Flow:
    """Return the latest records of a topic, from a time since which all are known, and their rate unless it is given.

    Raise `NoFlow` or `ClusterError`.
    """
    tail = TopicTail(cluster, topic)
    ends = tail.ends()
    begins = {partition: max(first, end - MOST_MESSAGES) for partition, (first, end) in ends.items()}
    tail.begin_at(begins)
    found: dict[int, list[Message]] = {}
    for messages in tail.read():
        for message in messages:
            found.setdefault(message.partition() or 0, []).append(message)
    cut = [partition for partition, (first, _) in ends.items() if begins[partition] > first and partition in found]
    since = max((_at(found[partition][0]) for partition in cut), default=-math.inf)
    kept = sorted((one for of_each in found.values() for one in of_each if _at(one) >= since), key=_at)
    if not kept:
        raise NoFlow(f"the topic {topic} has no messages: write --records FILE and --rate R, or try again later")
    records = list(_lines(kept))
    if not records:
        raise NoFlow(
            f"the latest messages of the topic {topic} ({len(kept)}) have no records: write --records FILE and --rate R"
        )
    return Flow(records, _rate(kept, len(records), topic) if rate is None else rate)


def _rate(kept: Sequence[Message], records: int, topic: str) -> float:
    """Return how many records came each second, since the first of these messages; raise `NoFlow`."""
    began, now = _at(kept[0]), time.time()
    if not 0 < began < now + FUTURE_SECONDS:
        raise NoFlow(
            f"the timestamps of the latest messages of the topic {topic} do not say when they were written: write "
            "--rate R"
        )
    return records / max(1.0, now - began)


def _at(message: Message) -> float:
    """Return the time at which a message was written, in seconds since the epoch."""
    return message.timestamp()[1] / 1_000


def _lines(messages: Sequence[Message]) -> Iterator[bytes]:
    for message in messages:
        yield from (line for line in (message.value() or b"").splitlines() if line.strip())
