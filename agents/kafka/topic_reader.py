"""Reads a topic from its beginning to its present end."""

from __future__ import annotations

from collections.abc import AsyncIterator

from aiokafka import TopicPartition
from aiokafka.structs import ConsumerRecord

from metroline.agents.kafka.cluster import Cluster
from metroline.agents.kafka.topic_admin import TopicAdmin


async def read_topic(cluster: Cluster, topic: str) -> AsyncIterator[ConsumerRecord]:
    """Yield every message of a topic, partition by partition, up to the end that each partition has at the start.

    A topic that does not exist has no messages.
    """
    count = (await TopicAdmin(cluster).partitions([topic])).get(topic, 0)
    partitions = [TopicPartition(topic, number) for number in range(count)]
    if not partitions:
        return
    ends = await TopicAdmin(cluster).high_watermarks(partitions)
    async with cluster.consumer(fetch_max_wait_ms=10, max_partition_fetch_bytes=8 * 1024 * 1024) as consumer:
        consumer.assign(partitions)
        await consumer.seek_to_beginning(*partitions)
        for partition in partitions:
            while await consumer.position(partition) < ends[partition]:
                for messages in (await consumer.getmany(partition, timeout_ms=1_000)).values():
                    for message in messages:
                        yield message
