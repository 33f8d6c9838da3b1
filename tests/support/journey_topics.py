"""The topics that hold journeys, for archives that have no broker."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

import pytest

from metroline.agents.kafka.topic_admin import TopicAdmin
from metroline.agents.kafka.topic_tail import TopicTail
from metroline.routing.journeys.kept_journeys import EndedSegment, messages
from metroline.routing.messages.record_ids import Origin
from metroline.routing.messages.segment import Segment
from tests.support.dead_letter_topic import TopicMessage


def kept_message(
    *ended: tuple[Segment, float], offset: int = 0, partition: int = 0, count: int = 0, strategy: str = "signpost"
) -> TopicMessage:
    """Return a message of the topic `journeys` with segments, each with the time at which it ended."""
    segments = [EndedSegment(segment, at) for segment, at in ended]
    [message] = messages(strategy, Origin("source", partition), segments, count)
    return TopicMessage((partition, offset), None, message.encode())


def serve_topics(monkeypatch: pytest.MonkeyPatch, topics: Mapping[str, Sequence[TopicMessage]]) -> list[str]:
    """Let every reader of a test find these messages, by the ends of the topics' names.

    Return the names of the topics that are read, which is filled as they are.
    """
    reads: list[str] = []

    async def partitions(_: TopicAdmin, names: Collection[str]) -> dict[str, int]:
        return dict.fromkeys(names, 4)

    def on(tail: TopicTail) -> Sequence[TopicMessage]:
        return next((found for end, found in topics.items() if tail.topic.endswith(end)), ())

    def read(tail: TopicTail, partitions: Collection[int] | None = None) -> Iterator[list[TopicMessage]]:
        reads.append(tail.topic)
        mine = [one for one in on(tail) if partitions is None or one.partition() in partitions]
        yield from ([one] for one in mine if one.offset() >= tail._next.get(one.partition(), 0))

    def fetch(tail: TopicTail, places: Collection[tuple[int, int]]) -> Iterator[TopicMessage]:
        yield from (message for message in on(tail) if message.place in places)

    patched: dict[tuple[type[Any], str], Any] = {
        (TopicAdmin, "partitions"): partitions,
        (TopicTail, "read"): read,
        (TopicTail, "fetch"): fetch,
    }
    for (owner, name), replacement in patched.items():
        monkeypatch.setattr(owner, name, replacement)
    return reads
