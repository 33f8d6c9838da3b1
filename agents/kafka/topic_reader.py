"""Reads topics from their beginning to their present end."""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection

from aiokafka import TopicPartition
from aiokafka.structs import ConsumerRecord

from metroline.agents.kafka.cluster import Cluster
from metroline.agents.kafka.topic_admin import TopicAdmin


async def read_topic(cluster: Cluster, topic: str) -> AsyncIterator[ConsumerRecord]:
    """Yield every message of a topic, partition by partition, up to the end that each partition has at the start.

    A topic that does not exist has no messages.
    """
    async for message in read_topics(cluster, [topic]):
        yield message


async def read_topics(cluster: Cluster, topics: Collection[str]) -> AsyncIterator[ConsumerRecord]:
    """Yield every message of some topics, one topic after another, as `read_topic` does."""
    counts = await TopicAdmin(cluster).partitions(list(topics))
    partitions = [TopicPartition(topic, number) for topic in topics for number in range(counts.get(topic, 0))]
    if not partitions:
        return
    ends = await TopicAdmin(cluster).high_watermarks(partitions)
    partitions = [partition for partition in partitions if ends[partition]]
    if not partitions:
        return
    async with cluster.consumer(fetch_max_wait_ms=10, max_partition_fetch_bytes=8 * 1024 * 1024) as consumer:
        consumer.assign(partitions)
        await consumer.seek_to_beginning(*partitions)
        for partition in partitions:
            while await consumer.position(partition) < ends[partition]:
                for messages in (await consumer.getmany(partition, timeout_ms=1_000)).values():
                    for message in messages:
                        yield message
