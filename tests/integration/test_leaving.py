"""Members come and go while their group forms, and it forms again all the same."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from aiokafka import AIOKafkaConsumer

from agents.cluster import Cluster, TopicPlan
from agents.leaving import leave_with_care
from tests.brokers import Broker

SETTINGS: dict[str, Any] = {"session_timeout_ms": 6_000, "rebalance_timeout_ms": 6_000, "heartbeat_interval_ms": 1_000}


async def member(cluster: Cluster, group: str, topic: str) -> AIOKafkaConsumer:
    """One that is on its way into the group."""
    consumer = cluster.consumer(group_id=group, **SETTINGS)
    await consumer.start()
    await leave_with_care(consumer, cluster)
    consumer.subscribe([topic])
    return consumer


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(30):
        while not holds():
            await asyncio.sleep(0.02)


async def test_a_group_whose_leader_leaves_while_it_forms_forms_again(broker: Broker, prefix: str) -> None:
    cluster, topic, group = Cluster.at(broker.url), f"{prefix}.source", f"{prefix}.group"
    await cluster.create([TopicPlan(topic, 2)])
    leader = await member(cluster, group, topic)
    try:
        await until(lambda: len(leader.assignment()) == 2)
        heir = await member(cluster, group, topic)
    except BaseException:
        await leader.stop()
        raise
    try:
        await until(lambda: heir._coordinator.member_id != "")  # the broker knows it: the group forms
        await leader.stop()
        await until(lambda: len(heir.assignment()) == 2)
    finally:
        await heir.stop()
        await cluster.delete([topic])
