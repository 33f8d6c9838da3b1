"""A topic of dead letters, with the table that counts them, for workers that have no broker."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import orjson
import pytest

from metroline.agents.kafka.topic_admin import TopicAdmin
from metroline.agents.kafka.topic_tail import TopicTail
from metroline.routing.journeys.dead_letter_messages import dead_letter_messages
from metroline.routing.journeys.settlement import SettledBlock, outcome_key
from metroline.routing.messages.record_ids import Origin
from metroline.routing.messages.segment import Segment


@dataclass(frozen=True)
class TopicMessage:
    """A message as confluent-kafka returns it."""

    place: tuple[int, int]
    own_key: bytes | None
    own_value: bytes | None
    own_headers: Sequence[tuple[str, bytes | None]] = ()

    def partition(self) -> int:
        return self.place[0]

    def offset(self) -> int:
        return self.place[1]

    def key(self) -> bytes | None:
        return self.own_key

    def value(self) -> bytes | None:
        return self.own_value

    def headers(self) -> list[tuple[str, bytes | None]]:
        return list(self.own_headers)

    def timestamp(self) -> tuple[int, int]:
        return 1, 1_000


def dead_letters_of(segments: Iterable[Segment], partition: int = 0) -> list[TopicMessage]:
    """Return the messages on the topic of dead letters for segments that end there."""
    messages = dead_letter_messages(
        "test", "signpost", Origin("source", partition), segments, "test.source", 1_700_000_000.5, 1_000_000
    )
    return [
        TopicMessage(
            (0, offset),
            message.key,
            message.value,
            [(name, value.encode() if isinstance(value, str) else value) for name, value in message.headers],
        )
        for offset, message in enumerate(messages)
    ]


def counted(segments: Iterable[Segment], partition: int = 0) -> TopicMessage:
    """Return the entry of the table `outcomes` that counts segments of the first block of a partition."""
    block = SettledBlock()
    for segment in segments:
        assert segment.outcome is not None
        block.settle(segment.ids, outcome_key(segment.last_stop, segment.outcome), segment.hops, segment.generation)
    return TopicMessage((partition, 0), f"{partition}/source/0".encode(), orjson.dumps(block.encode() | {"epoch": 1}))


def serve_dead_letters(
    monkeypatch: pytest.MonkeyPatch,
    letters: list[TopicMessage],
    blocks: list[TopicMessage],
    jobs: Sequence[TopicMessage] = (),
) -> None:
    """Let every worker of a test find these messages on the topic of dead letters and in the table `outcomes`.

    `jobs` are the messages on the topic of replay jobs.
    """

    async def partitions(*_: Any) -> dict[str, int]:
        return {}

    def on(tail: TopicTail) -> list[TopicMessage]:
        if tail.topic.endswith("replay-jobs"):
            return list(jobs)
        if tail.topic.endswith(("comparisons", "journal")):
            return []
        return letters if tail.topic.endswith("dead-letters") else blocks

    def read(tail: TopicTail, _: Collection[int] | None = None) -> Iterator[list[TopicMessage]]:
        yield on(tail)

    def fetch(tail: TopicTail, places: Collection[tuple[int, int]]) -> Iterator[TopicMessage]:
        yield from (message for message in on(tail) if message.place in places)

    monkeypatch.setattr(TopicAdmin, "partitions", partitions)
    monkeypatch.setattr(TopicTail, "read", read)
    monkeypatch.setattr(TopicTail, "fetch", fetch)
