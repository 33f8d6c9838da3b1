"""A topic is read on from where the last look ended, on real brokers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable

import pytest

from metroline.agents.kafka.cluster import Cluster, ClusterError
from metroline.agents.kafka.topic_admin import TopicAdmin, TopicPlan
from metroline.agents.kafka.topic_tail import NEAR_OFFSETS, TopicTail
from tests.support.brokers import Broker


@pytest.fixture
async def tail(broker: Broker, prefix: str) -> AsyncIterator[TopicTail]:
    """Yield a tail of a topic with two partitions."""
    cluster = Cluster.at(broker.url)
    admin = TopicAdmin(cluster)
    await admin.create([TopicPlan(f"{prefix}.a", 2)])
    yield TopicTail(cluster, f"{prefix}.a")
    await admin.delete(await admin.topics_below(prefix))


async def write(tail: TopicTail, partition: int, values: Iterable[bytes]) -> None:
    async with tail.cluster.producer() as producer:
        for sent in [await producer.send(tail.topic, value, partition=partition) for value in values]:
            await sent


async def read(tail: TopicTail) -> list[bytes | None]:
    return await asyncio.to_thread(lambda: [message.value() for messages in tail.read() for message in messages])


async def test_each_look_has_what_was_written_since_the_last_one(tail: TopicTail) -> None:
    assert await read(tail) == []
    await write(tail, 0, [b"a", b"b"])
    await write(tail, 1, [b"c"])
    assert await read(tail) == [b"a", b"b", b"c"]
    assert await read(tail) == []
    await write(tail, 1, [b"d"])
    assert await read(tail) == [b"d"]


async def test_single_messages_are_fetched_however_far_they_lie_apart(tail: TopicTail) -> None:
    await write(tail, 0, (b"%d" % number for number in range(3 * NEAR_OFFSETS)))
    await write(tail, 1, [b"other"])
    places = {(0, 3 * NEAR_OFFSETS - 1), (1, 0), (0, 7), (0, 9), (1, 99)}
    found = await asyncio.to_thread(lambda: [message.value() for message in tail.fetch(places)])
    assert found == [b"7", b"9", b"%d" % (3 * NEAR_OFFSETS - 1), b"other"]


async def test_a_topic_that_was_created_anew_is_read_from_its_beginning(tail: TopicTail) -> None:
    await write(tail, 0, [b"a", b"b", b"c"])
    assert len(await read(tail)) == 3
    admin = TopicAdmin(tail.cluster)
    await admin.delete([tail.topic])
    async with asyncio.timeout(20):
        while await admin.partitions([tail.topic]):
            await asyncio.sleep(0.05)
    await admin.create([TopicPlan(tail.topic, 2)])
    await write(tail, 0, [b"x"])
    batches = await asyncio.to_thread(lambda: [[message.value() for message in some] for some in tail.read()])
    assert batches == [[], [b"x"]]


@pytest.mark.parametrize("broker", ["embedded"], indirect=True)  # nothing in it depends on the broker
async def test_a_topic_that_is_not_there_has_no_messages(tail: TopicTail) -> None:
    assert await read(TopicTail(tail.cluster, f"{tail.topic}.nowhere")) == []


async def test_a_cluster_that_does_not_answer_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("metroline.agents.kafka.topic_tail.ANSWER_SECONDS", 0.5)
    with pytest.raises(ClusterError, match=r"no Kafka broker answers at 127\.0\.0\.1:1"):
        await read(TopicTail(Cluster.at("kafka://127.0.0.1:1"), "a"))
