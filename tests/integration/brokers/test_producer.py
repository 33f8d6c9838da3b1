"""The producer on real brokers: confirmed messages are written once and in order, and failures are reported."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from metroline.agents.kafka import producer as producing
from metroline.agents.kafka.cluster import Cluster
from metroline.agents.kafka.producer import KafkaProducer, NotSent, TooLarge
from metroline.agents.kafka.topic_admin import TopicAdmin, TopicPlan
from metroline.app.local.embedded_broker import EmbeddedBroker
from metroline.app.local.ports import HOST, free_port
from tests.support.brokers import Broker

LIMIT = 8 * 1024 * 1024


@pytest.fixture
async def topic(broker: Broker, prefix: str) -> AsyncIterator[str]:
    cluster = Cluster.at(broker.url)
    await TopicAdmin(cluster).create([TopicPlan(f"{prefix}.written", 2)])
    yield f"{prefix}.written"
    await TopicAdmin(cluster).delete([f"{prefix}.written"])


async def written(broker: Broker, topic: str, count: int) -> list[tuple[int, bytes | None, bytes]]:
    """Return the partition, the key and the value of each message of a topic."""
    found: list[tuple[int, bytes | None, bytes]] = []
    async with Cluster.at(broker.url).consumer(topic) as consumer:
        async with asyncio.timeout(30):
            while len(found) < count:
                for messages in (await consumer.getmany(timeout_ms=100)).values():
                    found += [(message.partition, message.key, message.value) for message in messages]
    return found


async def test_what_is_confirmed_is_written_in_order_in_its_partition(broker: Broker, topic: str) -> None:
    producer = KafkaProducer(Cluster.at(broker.url).librdkafka, LIMIT)
    sent = [(number % 2, b"key" if number % 3 else None, b"%d" % number) for number in range(2_000)]
    try:
        confirmations = [await producer.send(topic, key, value, partition) for partition, key, value in sent]
        await asyncio.gather(*confirmations)
    finally:
        await producer.close()

    found = await written(broker, topic, len(sent))
    for partition in (0, 1):
        assert [one for one in found if one[0] == partition] == [one for one in sent if one[0] == partition]


async def test_a_message_over_the_limit_is_too_large_and_the_next_one_is_sent(broker: Broker, topic: str) -> None:
    producer = KafkaProducer(Cluster.at(broker.url).librdkafka, 100_000)
    try:
        refused = await producer.send(topic, None, b"x" * 200_000, 0)
        with pytest.raises(TooLarge, match="size"):
            await refused
        await (await producer.send(topic, None, b"small", 0))
    finally:
        await producer.close()
    assert await written(broker, topic, 1) == [(0, None, b"small")]


async def test_a_message_that_only_the_broker_refuses_for_its_size_is_too_large(
    kafka_broker: Broker, prefix: str
) -> None:
    cluster = Cluster.at(kafka_broker.url)
    await TopicAdmin(cluster).create([TopicPlan(f"{prefix}.narrow", 1, {"max.message.bytes": "20000"})])
    producer = KafkaProducer(cluster.librdkafka, LIMIT)
    try:
        with pytest.raises(TooLarge):
            await (await producer.send(f"{prefix}.narrow", None, b"x" * 50_000, 0))
    finally:
        await producer.close()
        await TopicAdmin(cluster).delete([f"{prefix}.narrow"])


async def test_who_sends_more_than_may_be_open_waits_for_confirmations(
    broker: Broker, topic: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(producing, "MAX_OPEN_BYTES", 300_000)
    producer = KafkaProducer(Cluster.at(broker.url).librdkafka, LIMIT)
    most = 0
    try:
        confirmations = []
        for number in range(40):
            confirmations.append(await producer.send(topic, None, b"%d" % number * 50_000, 0))
            most = max(most, sum(not one.done() for one in confirmations))
        await asyncio.gather(*confirmations)
    finally:
        await producer.close()
    assert 1 <= most <= 6


async def test_closing_waits_for_what_is_unconfirmed(broker: Broker, topic: str) -> None:
    producer = KafkaProducer(Cluster.at(broker.url).librdkafka, LIMIT)
    confirmations = [await producer.send(topic, None, b"%d" % number, 0) for number in range(500)]
    await producer.close()
    assert all(one.done() and one.exception() is None for one in confirmations)
    assert len(await written(broker, topic, 500)) == 500


async def test_without_a_broker_a_message_is_not_sent_and_once_there_is_one_it_is(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(producing, "GIVE_UP_SECONDS", 1.0)
    port = free_port()
    producer = KafkaProducer({"bootstrap.servers": f"{HOST}:{port}"}, LIMIT)
    try:
        with pytest.raises(NotSent):
            await (await producer.send("t.later", None, b"value", 0))
        with EmbeddedBroker.start(port=port) as broker:
            # The producer asks for the topic all the while: the broker may have created it by now, with 4 partitions.
            await TopicAdmin(Cluster.at(broker.url)).create([TopicPlan("t.later", 4)])
            async with asyncio.timeout(20):
                while True:
                    try:
                        await (await producer.send("t.later", None, b"value", 0))
                        break
                    except NotSent:
                        continue
    finally:
        await producer.close()
