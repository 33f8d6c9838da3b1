"""Acknowledged messages are deleted, and no others."""

from __future__ import annotations

import logging

import pytest
from aiokafka import TopicPartition

from metroline.agents.kafka.cluster import Cluster
from metroline.agents.kafka.purge import Purge
from metroline.agents.kafka.topic_admin import TopicAdmin, TopicPlan
from metroline.agents.membership.needs import purged_by
from metroline.agents.membership.roles import Role
from metroline.routing.outcome import Ending
from tests.support.brokers import Broker
from tests.support.depot import Depot, numbered


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


@pytest.mark.parametrize("broker", ["kafka"], indirect=True)
async def test_nothing_is_deleted_while_another_group_reads_the_same_topics(broker: Broker, prefix: str) -> None:
    cluster, read = Cluster.at(broker.url), TopicPartition(f"{prefix}.read", 0)
    await TopicAdmin(cluster).create([TopicPlan(read.topic, 1)])
    readers = [False]
    purge = Purge(cluster, {f"{prefix}@all": (read.topic,)}, lambda: readers[0])
    async with cluster.producer() as producer, cluster.consumer(group_id=f"{prefix}@all") as consumer:
        await producer.send_and_wait(read.topic, b"1", partition=0)
        consumer.assign([read])
        await consumer.commit({read: 1})

        await purge.purge()
        assert await consumer.beginning_offsets([read]) == {read: 0}

        readers[0] = True
        await purge.purge()
        assert await consumer.beginning_offsets([read]) == {read: 1}
    await TopicAdmin(cluster).delete([read.topic])


@pytest.mark.parametrize("broker", ["kafka"], indirect=True)
async def test_a_reason_for_which_nothing_can_be_deleted_is_logged_once(
    broker: Broker, prefix: str, caplog: pytest.LogCaptureFixture
) -> None:
    cluster, read = Cluster.at(broker.url), TopicPartition(f"{prefix}.read", 0)
    await TopicAdmin(cluster).create([TopicPlan(read.topic, 1, {"cleanup.policy": "compact"})])
    purge = Purge(cluster, {f"{prefix}@all": (read.topic,)})
    async with cluster.producer() as producer, cluster.consumer(group_id=f"{prefix}@all") as consumer:
        await producer.send_and_wait(read.topic, b"1", key=b"key", partition=0)
        consumer.assign([read])
        await consumer.commit({read: 1})

    with caplog.at_level(logging.WARNING):
        await purge.purge()
        await purge.purge()

    expected = f"[^Purge]: acknowledged messages could not be deleted (POLICY_VIOLATION) from {read.topic}"
    assert [record.getMessage() for record in caplog.records if "deleted" in record.getMessage()] == [expected]
    await TopicAdmin(cluster).delete([read.topic])


@pytest.mark.parametrize("broker", ["kafka"], indirect=True)
async def test_records_that_are_under_way_are_not_deleted(broker: Broker, depot: Depot) -> None:
    role = Role.parse("all", {"weigh", "crane", "shelf"})
    purge = Purge(depot.cluster, purged_by(role, depot.topics))
    stop = [TopicPartition(depot.topics.at("service.weigh"), number) for number in range(depot.partitions)]

    async def is_empty() -> bool:
        await purge.purge()
        async with depot.cluster.consumer() as consumer:
            return bool(await consumer.beginning_offsets(stop) == await consumer.end_offsets(stop))

    await depot.push(numbered(range(1, 20, 2)))
    depot.start()
    await depot.settled(10)
    await depot.until(is_empty)
    before = await TopicAdmin(depot.cluster).high_watermarks(stop)
    await depot.push(numbered(range(21, 41, 2), waits=True))

    async def has_more() -> bool:
        return await TopicAdmin(depot.cluster).high_watermarks(stop) != before

    await depot.until(has_more)

    assert not await is_empty()
    depot.open_gate()
    await depot.settled(20)

    assert await depot.counts() == {Ending.DELIVERED: 16, Ending.DROPPED: 4}
    await depot.until(is_empty)
