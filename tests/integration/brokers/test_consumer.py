"""The consumer on real brokers: it reads what it is assigned, from where it is told, and nothing else."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator

import pytest
from aiokafka import TopicPartition

from metroline.agents.kafka.cluster import Cluster
from metroline.agents.kafka.consumer import Fetched, KafkaConsumer
from metroline.agents.kafka.producer import KafkaProducer
from metroline.agents.kafka.topic_admin import TopicAdmin, TopicPlan
from tests.support.brokers import Broker

COUNT = 200
"""Messages of each partition, whose values are their offsets."""


@pytest.fixture
async def partitions(broker: Broker, prefix: str) -> AsyncIterator[list[TopicPartition]]:
    """Yield the two partitions of a topic with messages."""
    topic = f"{prefix}.read"
    cluster = Cluster.at(broker.url)
    await TopicAdmin(cluster).create([TopicPlan(topic, 2)])
    await write(broker, topic, range(COUNT))
    yield [TopicPartition(topic, 0), TopicPartition(topic, 1)]
    await TopicAdmin(cluster).delete([topic])


@pytest.fixture
async def consumer(broker: Broker, partitions: list[TopicPartition]) -> AsyncIterator[KafkaConsumer]:
    """Yield a consumer that is closed before the topic is deleted; see `metroline.agents.kafka.tansu`."""
    consumer = KafkaConsumer(Cluster.at(broker.url).librdkafka | {"fetch.wait.max.ms": 20}, "reader")
    yield consumer
    await consumer.close()


async def write(broker: Broker, topic: str, numbers: range) -> None:
    producer = KafkaProducer(Cluster.at(broker.url).librdkafka, 100_000)
    try:
        sent = [await producer.send(topic, None, b"%d" % number, part) for number in numbers for part in (0, 1)]
        await asyncio.gather(*sent)
    finally:
        await producer.close()


async def offsets_until(
    consumer: KafkaConsumer, last: dict[TopicPartition, int], found: dict[TopicPartition, list[int]] | None = None
) -> dict[TopicPartition, list[int]]:
    """Read until the last offset of each partition is there; return the offsets of each, in the order of arrival."""
    found = {} if found is None else found
    async with asyncio.timeout(30):
        while any(offset not in found.get(partition, ()) for partition, offset in last.items()):
            add(found, await consumer.take(0.5))
    return found


def add(found: dict[TopicPartition, list[int]], fetched: Fetched) -> None:
    for partition, messages in fetched.items():
        assert [message.value() for message in messages] == [b"%d" % (message.offset() or 0) for message in messages]
        found.setdefault(partition, []).extend(message.offset() or 0 for message in messages)


async def test_each_partition_is_read_in_order_from_its_offset(
    consumer: KafkaConsumer, partitions: list[TopicPartition]
) -> None:
    first, second = partitions
    await consumer.assign({first: 150, second: 0})
    found = await offsets_until(consumer, dict.fromkeys(partitions, COUNT - 1))
    assert found == {first: list(range(150, COUNT)), second: list(range(COUNT))}


async def test_a_partition_that_is_assigned_again_is_read_from_the_new_offset_only(
    consumer: KafkaConsumer, partitions: list[TopicPartition]
) -> None:
    first, second = partitions
    for begin in (100, 20, 180, 0):
        await consumer.assign({first: begin, second: begin})
        found = await offsets_until(consumer, {first: COUNT - 1})
        assert found[first] == list(range(begin, COUNT))
        add(found, await consumer.unassign(partitions))
        read = found.get(second, [])
        assert read == list(range(begin, begin + len(read)))
        assert await consumer.take(0.1) == {}


async def test_what_is_not_assigned_is_not_read(consumer: KafkaConsumer, partitions: list[TopicPartition]) -> None:
    second = partitions[1]
    await consumer.assign({second: COUNT - 1})
    assert await offsets_until(consumer, {second: COUNT - 1}) == {second: [COUNT - 1]}
    assert await consumer.take(0.3) == {}


async def test_a_message_that_comes_while_it_waits_is_returned_at_once(
    broker: Broker, consumer: KafkaConsumer, partitions: list[TopicPartition]
) -> None:
    first, second = partitions
    await consumer.assign({first: COUNT, second: COUNT})
    assert await consumer.take(0.2) == {}
    waiting = asyncio.create_task(consumer.take(20.0))
    began = time.monotonic()
    await write(broker, first.topic, range(COUNT, COUNT + 1))
    assert set(await waiting) <= {first, second}
    assert time.monotonic() - began < 10.0


async def test_a_consumer_that_waits_can_be_woken_and_closed(broker: Broker, partitions: list[TopicPartition]) -> None:
    consumer = KafkaConsumer(Cluster.at(broker.url).librdkafka, "reader")
    await consumer.assign(dict.fromkeys(partitions, COUNT))
    waiting = asyncio.create_task(consumer.take(30.0))
    await asyncio.sleep(0)
    consumer.wake()
    async with asyncio.timeout(30):
        assert await waiting == {}
        await consumer.close()


async def test_a_broker_that_is_away_is_told_of_once_and_not_with_every_attempt(
    caplog: pytest.LogCaptureFixture, unused_tcp_port: int
) -> None:
    caplog.set_level(logging.WARNING)
    consumer = KafkaConsumer(Cluster.at(f"kafka://127.0.0.1:{unused_tcp_port}").librdkafka, "reader")
    try:
        await consumer.assign({TopicPartition("any", 0): 0})
        assert await consumer.take(3.0) == {}
    finally:
        await consumer.close()
    told = [record for record in caplog.records if "_ALL_BROKERS_DOWN" in record.getMessage()]
    assert len(told) == 1
    assert len(caplog.records) < 10
