"""A record whose journey is not kept is found where it is: in the source, at a stop, waiting, or at its end."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import orjson
import pytest
from aiokafka import TopicPartition

from metroline.agents.kafka.cluster import Cluster
from metroline.agents.kafka.topic_admin import TopicAdmin
from metroline.agents.kafka.topics import Topics
from metroline.app.operations.journeys import whereabouts as module
from metroline.app.operations.journeys.archive import Wanted
from metroline.app.operations.journeys.whereabouts import Whereabouts, whereabouts
from metroline.routing.journeys.settlement import SettledBlock
from metroline.routing.messages.envelope import Envelope
from metroline.routing.messages.record_ids import Origin
from metroline.routing.messages.segment import Attempts, ReplayRequest, Segment
from metroline.routing.outcome import Cause, Outcome
from tests.support.dead_letter_topic import TopicMessage
from tests.support.journey_topics import serve_topics

TOPICS = Topics("test", "test.source")
STOPS = frozenset({"a", "b"})


def on_bus(segment: Segment, offset: int = 0) -> TopicMessage:
    return TopicMessage((0, offset), None, Envelope("signpost", Origin("source", 0), (segment,)).encode())


def record(number: int, **fields: Any) -> Segment:
    return Segment((number,), (b"{}",), 1.0, **fields)


def block(*settled: int, dead: Iterable[int] = (), lost: range = range(0)) -> TopicMessage:
    counted = SettledBlock()
    counted.settle(settled, ("a", "delivered", ""), 1)
    counted.settle(dead, ("a", "dead", "timeout"), 1)
    counted.lose(lost)
    return TopicMessage((0, 0), b"0/source/0", orjson.dumps(counted.encode() | {"epoch": 1}))


@pytest.fixture
def line(monkeypatch: pytest.MonkeyPatch) -> dict[str, list[TopicMessage]]:
    """Return the topics of a line whose source holds 100 messages, of which 10 are done."""
    topics: dict[str, list[TopicMessage]] = {}
    serve_topics(monkeypatch, topics)

    async def ends(_: TopicAdmin, partitions: Iterable[TopicPartition]) -> dict[TopicPartition, int]:
        return dict.fromkeys(partitions, 100)

    async def committed(*_: Any) -> dict[TopicPartition, int]:
        return {TopicPartition("test.source", 0): 10, TopicPartition("test.service.b", 0): 5}

    monkeypatch.setattr(TopicAdmin, "high_watermarks", ends)
    monkeypatch.setattr(module, "_committed", committed)
    return topics


async def where(name: str, epoch: int = 0) -> Whereabouts:
    return await whereabouts(Cluster.at("kafka://127.0.0.1:1"), TOPICS, STOPS, Wanted.of(name), epoch)


@pytest.mark.usefixtures("line")
async def test_a_record_that_never_came_is_told_from_one_that_waits_in_the_source() -> None:
    assert (await where("source-0-100")).text == "it never came: partition 0 of test.source ends before it"
    assert (await where("source-9-1")).text == "the topic test.source has no partition 9: it has 4"
    waits = await where("source-0-17")
    assert (waits.kind, waits.text[:62]) == ("source", "it waits in test.source, 7 messages behind those that are done")
    assert (await where("source-0-3")).kind == "under_way"
    other = await where("source-0-3", epoch=2)
    assert (other.kind, other.text) == ("other_source", "the ids of this source begin with source-2-")


async def test_a_record_that_ended_without_a_kept_journey_says_so(line: dict[str, list[TopicMessage]]) -> None:
    line["table.outcomes"] = [block(17, dead=[18], lost=range(20, 22)), TopicMessage((0, 1), b"0/source/0", b"{}")]
    assert (await where("source-0-17")).kind == "ended"
    assert "was not kept" in (await where("source-0-17")).text
    assert "was deleted from the topic of the dead letters" in (await where("source-0-18")).text
    assert (await where("source-0-21")).kind == "lost"
    assert (await where("source-0-19")).kind == "source"


async def test_a_record_under_way_is_found_at_its_latest_place(line: dict[str, list[TopicMessage]]) -> None:
    line["service.a"] = [on_bus(record(17, hops=1))]
    line["service.b"] = [on_bus(record(17, hops=1), 4), on_bus(record(17, hops=2), 5), on_bus(record(18), 6)]
    found = await where("source-0-17")
    assert (found.kind, found.stop, found.since) == ("under_way", "b", 1.0)
    assert found.text == "it waits at the stop b, or its service works on it"


async def test_a_record_in_a_waiting_room_or_behind_failed_attempts_says_so(
    line: dict[str, list[TopicMessage]],
) -> None:
    tried = Attempts("a", ("x", "y"), 50.0)
    line["service.a"] = [on_bus(record(17, hops=3, attempts=tried))]
    assert (await where("source-0-17")).text.endswith("attempts that failed there: 2")
    line["waiting.5s"] = [on_bus(record(17, hops=4, attempts=tried))]
    found = await where("source-0-17")
    assert found.text == "it waits in the waiting room waiting.5s for its next attempt at a"


async def test_what_else_is_on_the_topics_is_no_record_under_way(line: dict[str, list[TopicMessage]]) -> None:
    dead = Outcome.dead(Cause.TIMEOUT)
    line["service.a"] = [TopicMessage((0, 0), None, b"17 no envelope"), TopicMessage((0, 1), None, None)]
    line["arrivals"] = [on_bus(record(17, outcome=dead, request=ReplayRequest()))]
    assert (await where("source-0-17")).kind == "source"
    line["arrivals"] = [on_bus(record(17, outcome=dead))]
    assert (await where("source-0-17")).text == "it is on its way to the arrivals"
