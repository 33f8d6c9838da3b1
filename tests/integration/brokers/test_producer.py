"""The producer on real brokers: confirmed messages are written once and in order, and failures are reported."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator

import pytest
from aiokafka.partitioner import DefaultPartitioner

from metroline.agents.kafka import producer as producing
from metroline.agents.kafka.cluster import Cluster
from metroline.agents.kafka.producer import BY_KEY, NOW, KafkaProducer, KeyedMessage, NotSent, SomeNotSent, TooLarge
from metroline.agents.kafka.topic_admin import TopicAdmin, TopicPlan
from metroline.agents.kafka.topic_reader import read_topic
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


async def test_messages_that_are_sent_together_have_keys_headers_and_timestamps_and_one_confirmation(
    broker: Broker, topic: str
) -> None:
    producer = KafkaProducer(Cluster.at(broker.url).librdkafka, LIMIT)
    at = int(time.time() * 1000) - 60_000
    messages: list[KeyedMessage] = [
        (b"%d" % number, b"k%d" % number, BY_KEY, at + number, [("n", b"%d" % number), ("none", None), ("id", "text")])
        for number in range(1_000)
    ]
    messages += [(b"last", None, 1, NOW, []), (None, b"gone", BY_KEY, at, [])]
    try:
        await (await producer.send_all(topic, messages))
    finally:
        await producer.close()

    found = [message async for message in read_topic(Cluster.at(broker.url), topic)]
    assert len(found) == len(messages)
    by_value = {message.value: message for message in found}
    for number in range(1_000):
        message = by_value[b"%d" % number]
        key = b"k%d" % number
        assert message.partition == DefaultPartitioner()(key, [0, 1], [0, 1]), "as Java's client places it"
        assert (message.key, message.timestamp) == (key, at + number)
        assert message.headers == (("n", message.value), ("none", None), ("id", b"text"))
    assert (by_value[b"last"].partition, by_value[b"last"].key) == (1, None)
    assert by_value[b"last"].timestamp > at + 50_000
    assert by_value[None].key == b"gone"


async def test_of_messages_sent_together_only_those_that_failed_are_sent_again(broker: Broker, topic: str) -> None:
    producer = KafkaProducer(Cluster.at(broker.url).librdkafka, 100_000)
    large: KeyedMessage = (b"x" * 200_000, None, 0, NOW, [])
    try:
        refused = await producer.send_all(topic, [(b"one", None, 0, NOW, []), large, (b"two", None, 1, NOW, [])])
        with pytest.raises(SomeNotSent, match="1 of 3 messages: MSG_SIZE_TOO_LARGE") as failed:
            await refused
    finally:
        await producer.close()
    assert failed.value.messages == [large]
    assert {value for _, _, value in await written(broker, topic, 2)} == {b"one", b"two"}


async def test_several_timestamps_that_the_broker_refuses_keep_no_message_of_their_batch_from_being_written(
    kafka_broker: Broker, prefix: str
) -> None:
    cluster, topic = Cluster.at(kafka_broker.url), f"{prefix}.future"
    await TopicAdmin(cluster).create([TopicPlan(topic, 1)])
    producer = KafkaProducer(cluster.librdkafka, LIMIT)
    messages: list[KeyedMessage] = [(b"%d" % at, b"k", 0, at, []) for at in (1_000, 2**52, 2**50, 2_000)]
    try:
        for _ in range(3):
            try:
                await (await producer.send_all(topic, messages))
                break
            except SomeNotSent as failed:
                messages = list(failed.messages)
    finally:
        await producer.close()
    wanted = {b"%d" % at for at in (1_000, 2_000, 2**50, 2**52)}
    assert {value for _, _, value in await written(kafka_broker, topic, 4)} == wanted
    await TopicAdmin(cluster).delete([topic])


async def test_a_timestamp_that_the_broker_refuses_is_left_out_of_the_next_attempt(
    kafka_broker: Broker, prefix: str
) -> None:
    cluster = Cluster.at(kafka_broker.url)
    config = {"message.timestamp.before.max.ms": "60000"}
    await TopicAdmin(cluster).create([TopicPlan(f"{prefix}.strict", 1, config)])
    producer = KafkaProducer(cluster.librdkafka, LIMIT)
    try:
        with pytest.raises(SomeNotSent) as failed:
            await (await producer.send_all(f"{prefix}.strict", [(b"old", b"k", BY_KEY, 1_000, [])]))
        assert failed.value.messages == [(b"old", b"k", BY_KEY, NOW, [])]
        await (await producer.send_all(f"{prefix}.strict", failed.value.messages))
    finally:
        await producer.close()
        await TopicAdmin(cluster).delete([f"{prefix}.strict"])
