"""Both brokers of the integration tests carry a message from a producer to a consumer."""

from __future__ import annotations

import asyncio

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer

from tests.support.brokers import Broker


async def test_a_message_that_was_produced_is_consumed(broker: Broker, prefix: str) -> None:
    async with AIOKafkaProducer(bootstrap_servers=broker.bootstrap) as producer:
        sent = await producer.send_and_wait(f"{prefix}.source", b"hello", key=b"k")

    async with AIOKafkaConsumer(
        f"{prefix}.source", bootstrap_servers=broker.bootstrap, auto_offset_reset="earliest"
    ) as consumer:
        message = await asyncio.wait_for(consumer.getone(), timeout=120)

    assert (message.key, message.value) == (b"k", b"hello")
    assert (message.partition, message.offset) == (sent.partition, sent.offset)


async def test_topics_of_one_broker_are_not_seen_by_the_other(
    embedded_broker: Broker, kafka_broker: Broker, prefix: str
) -> None:
    async with AIOKafkaProducer(bootstrap_servers=embedded_broker.bootstrap) as producer:
        await producer.send_and_wait(f"{prefix}.source", b"hello")

    async with AIOKafkaConsumer(bootstrap_servers=kafka_broker.bootstrap) as consumer:
        assert f"{prefix}.source" not in await consumer.topics()
