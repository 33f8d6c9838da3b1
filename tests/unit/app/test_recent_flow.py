"""The flow of a line that runs: records and rate of its latest messages, or a line that says why there are none."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any, cast

import pytest

from metroline.agents.kafka.cluster import Cluster
from metroline.app.operations.recent_flow import NoFlow, recent_flow

CLUSTER = Cluster("localhost:9092")


class FakeMessage:
    """A message of a topic."""

    def __init__(self, value: bytes | None, age: float, partition: int = 0) -> None:
        self._value, self._age, self._partition = value, age, partition

    def value(self) -> bytes | None:
        return self._value

    def partition(self) -> int:
        return self._partition

    def timestamp(self) -> tuple[int, int]:
        return 1, -1 if self._age == float("inf") else round((time.time() - self._age) * 1_000)


@pytest.fixture
def topic(monkeypatch: pytest.MonkeyPatch) -> list[FakeMessage]:
    """Return the messages of the topic, which are none at first."""
    messages: list[FakeMessage] = []

    class FakeTail:
        def __init__(self, *_: Any) -> None: ...

        def ends(self) -> dict[int, tuple[int, int]]:
            return {0: (0, len(messages))}

        def begin_at(self, offsets: dict[int, int]) -> None: ...

        def read(self) -> Iterator[list[FakeMessage]]:
            yield messages

    monkeypatch.setattr("metroline.app.operations.recent_flow.TopicTail", cast(Any, FakeTail))
    return messages


def test_records_and_their_rate_are_those_since_the_first_message(topic: list[FakeMessage]) -> None:
    topic += [FakeMessage(b'{"n":1}\n{"n":2}\n', 100.0), FakeMessage(None, 50.0), FakeMessage(b'{"n":3}', 0.0)]

    flow = recent_flow(CLUSTER, "in")

    assert flow.records == [b'{"n":1}', b'{"n":2}', b'{"n":3}']
    assert flow.rate == pytest.approx(0.03, rel=0.05)
    assert recent_flow(CLUSTER, "in", rate=7.0).rate == 7.0


def test_a_topic_without_messages_is_named(topic: list[FakeMessage]) -> None:
    with pytest.raises(NoFlow, match="the topic in has no messages: write --records FILE and --rate R"):
        recent_flow(CLUSTER, "in")


def test_messages_without_records_are_counted(topic: list[FakeMessage]) -> None:
    topic += [FakeMessage(None, 1.0), FakeMessage(b" \n\n", 1.0)]

    with pytest.raises(NoFlow, match=r"the latest messages of the topic in \(2\) have no records: write --records"):
        recent_flow(CLUSTER, "in", rate=7.0)


@pytest.mark.parametrize("age", [float("inf"), -3_600.0])
def test_timestamps_that_say_nothing_make_no_rate(topic: list[FakeMessage], age: float) -> None:
    topic += [FakeMessage(b"{}", age)]

    with pytest.raises(NoFlow, match="the timestamps of the latest messages of the topic in do not say when"):
        recent_flow(CLUSTER, "in")
    assert recent_flow(CLUSTER, "in", rate=7.0).records == [b"{}"]
