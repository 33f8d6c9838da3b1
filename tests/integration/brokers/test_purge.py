"""Acknowledged messages are deleted, and no others."""

from __future__ import annotations

import pytest
from aiokafka import TopicPartition

from metroline.agents.kafka.cluster import Cluster
from metroline.agents.kafka.purge import Purge
from metroline.agents.kafka.topic_admin import TopicAdmin, TopicPlan
from tests.support.brokers import Broker


@pytest.mark.parametrize("broker", ["kafka"], indirect=True)  # the embedded one cannot delete messages
async def test_only_what_is_before_the_committed_offset_is_deleted(broker: Broker, prefix: str) -> None:
    cluster, read, other = Cluster.at(broker.url), f"{prefix}.read", f"{prefix}.other"
    admin = TopicAdmin(cluster)
    await admin.create([TopicPlan(read, 2, {"retention.ms": "-1"}), TopicPlan(other, 1)])
    purge = Purge(cluster, {f"{prefix}@all": (read,)})
    async with cluster.producer() as producer, cluster.consumer(group_id=f"{prefix}@all") as consumer:
        for number in range(10):
            await producer.send_and_wait(read, b"%d" % number, partition=0)
            await producer.send_and_wait(other, b"%d" % number, partition=0)
        partitions = [TopicPartition(read, 0), TopicPartition(read, 1), TopicPartition(other, 0)]
        consumer.assign(partitions)
        await consumer.commit({partitions[0]: 6, partitions[2]: 6})

        await purge.purge()
        assert await consumer.beginning_offsets(partitions) == dict(zip(partitions, [6, 0, 0], strict=True))

        await consumer.commit({partitions[0]: 10})
        await purge.purge()
        assert await consumer.beginning_offsets(partitions) == dict(zip(partitions, [10, 0, 0], strict=True))
    await admin.delete([read, other])
