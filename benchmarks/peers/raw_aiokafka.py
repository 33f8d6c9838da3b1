"""An aiokafka loop on uvloop: one consumer of all topics, which commits offsets after batches are confirmed."""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import Iterable

import orjson
import uvloop
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.structs import ConsumerRecord

from benchmarks.peers.stops import (
    BROKER,
    BY_TOPIC,
    COMMIT_SECONDS,
    FETCH_WAIT_MS,
    GROUP,
    HEARTBEAT_MS,
    REBALANCE_MS,
    SESSION_MS,
    report_drops_at_exit,
)


async def run() -> None:
    consumer = AIOKafkaConsumer(
        *BY_TOPIC,
        bootstrap_servers=BROKER,
        group_id=GROUP,
        auto_offset_reset="earliest",
        enable_auto_commit=False,
        fetch_max_wait_ms=FETCH_WAIT_MS,
        session_timeout_ms=SESSION_MS,
        heartbeat_interval_ms=HEARTBEAT_MS,
        rebalance_timeout_ms=REBALANCE_MS,
    )
    producer = AIOKafkaProducer(bootstrap_servers=BROKER, acks="all", max_batch_size=512 * 1024, linger_ms=0)
    await producer.start()
    await consumer.start()
    committed_at = time.monotonic()
    is_over = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, is_over.set)
    try:
        while not is_over.is_set():
            sent = []
            for partition, messages in (await consumer.getmany(timeout_ms=200)).items():
                sent += await _pass_on(partition, messages, producer)
            if sent:
                await asyncio.gather(*sent)
            if time.monotonic() - committed_at > COMMIT_SECONDS:
                await consumer.commit()
                committed_at = time.monotonic()
    finally:
        await consumer.stop()
        await producer.stop()


async def _pass_on(
    partition: TopicPartition, messages: Iterable[ConsumerRecord], producer: AIOKafkaProducer
) -> list[asyncio.Future[None]]:
    """Send the records on. Return the confirmations to wait for."""
    handler, following = BY_TOPIC[partition.topic]
    sent = []
    batch = producer.create_batch()
    for message in messages:
        record = handler(orjson.loads(message.value))
        if record is None:
            continue
        line = orjson.dumps(record)
        if batch.append(key=None, value=line, timestamp=None) is None:
            sent.append(await producer.send_batch(batch, following, partition=partition.partition))
            batch = producer.create_batch()
            batch.append(key=None, value=line, timestamp=None)
    if batch.record_count():
        sent.append(await producer.send_batch(batch, following, partition=partition.partition))
    return sent


if __name__ == "__main__":
    report_drops_at_exit()
    uvloop.run(run())
