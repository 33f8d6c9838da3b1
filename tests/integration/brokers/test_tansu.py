"""Members leave while their group forms, and the group forms again all the same."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack

from aiokafka import AIOKafkaConsumer

from metroline.agents.kafka.cluster import Cluster
from metroline.agents.kafka.tansu import leave_only_stable_groups
from metroline.agents.kafka.topic_admin import TopicAdmin, TopicPlan
from tests.support.brokers import Broker

PARTITIONS = 2


class Group:
    """Consumers in one group that read one topic."""

    def __init__(self, broker: Broker, name: str, members: AsyncExitStack) -> None:
        self.cluster = Cluster.at(broker.url)
        self.name = name
        self.topic = f"{name}.source"
        self._members = members
        seconds = 3 if broker.name == "embedded" else 6  # Apache Kafka takes no shorter session
        self._settings = {"session_timeout_ms": seconds * 1_000, "rebalance_timeout_ms": seconds * 1_000}

    async def joined(self) -> AIOKafkaConsumer:
        """Return one more member that is joining and that the broker knows."""
        consumer = self.cluster.unstarted_consumer(group_id=self.name, heartbeat_interval_ms=1_000, **self._settings)
        self._members.push_async_callback(consumer.stop)
        await consumer.start()
        await leave_only_stable_groups(consumer, self.cluster)
        consumer.subscribe([self.topic])
        while not consumer._coordinator.member_id:
            await asyncio.sleep(0.02)
        return consumer


async def holds(count: int, *consumers: AIOKafkaConsumer) -> None:
    """Wait until each of them has `count` partitions."""
    async with asyncio.timeout(30):
        while any(len(consumer.assignment()) != count for consumer in consumers):
            await asyncio.sleep(0.02)


async def test_a_group_that_its_leader_leaves_while_it_forms_forms_again(broker: Broker, prefix: str) -> None:
    async with AsyncExitStack() as members:
        group = Group(broker, prefix, members)
        await TopicAdmin(group.cluster).create([TopicPlan(group.topic, PARTITIONS)])
        members.push_async_callback(TopicAdmin(group.cluster).delete, [group.topic])
        leader = await group.joined()
        await holds(PARTITIONS, leader)
        other = await group.joined()
        await holds(1, leader, other)
        await other.stop()
        await holds(PARTITIONS, leader)  # not in the group's first generation, which a member leaves without a word
        heir = await group.joined()
        await leader.stop()
        await holds(PARTITIONS, heir)
