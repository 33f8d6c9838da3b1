"""Members leave while their group forms, and the group forms again all the same."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer
from aiokafka.coordinator.protocol import ConsumerProtocolMemberMetadata
from aiokafka.protocol.group import HeartbeatRequest, JoinGroupRequest, LeaveGroupRequest

from metroline.agents.kafka.cluster import Cluster
from metroline.agents.kafka.tansu import free_group, leave_only_stable_groups
from metroline.agents.kafka.topic_admin import TopicAdmin, TopicPlan
from tests.support.brokers import Broker

PARTITIONS = 2
PROTOCOLS = [("roundrobin", ConsumerProtocolMemberMetadata(0, [], b"").encode())]


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

    async def answer_to_heartbeat(self, member: str, generation: int) -> int:
        """Return the error code with which the broker answers a heartbeat of a member; 0 if it knows the member."""
        async with self.cluster.admin() as admin:
            request = HeartbeatRequest(self.name, generation, member)
            coordinator = await admin.find_coordinator(self.name)
            return int((await admin._client.send(coordinator, request)).error_code)


async def holds(count: int, *consumers: AIOKafkaConsumer) -> None:
    """Wait until each of them has `count` partitions."""
    async with asyncio.timeout(30):
        while any(len(consumer.assignment()) != count for consumer in consumers):
            await asyncio.sleep(0.02)


@pytest.mark.long
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
        await holds(PARTITIONS, leader)
        heir = await group.joined()
        await leader.stop()
        await holds(PARTITIONS, heir)


async def test_the_only_member_of_a_first_generation_leaves_at_once(broker: Broker, prefix: str) -> None:
    async with AsyncExitStack() as members:
        group = Group(broker, prefix, members)
        await TopicAdmin(group.cluster).create([TopicPlan(group.topic, PARTITIONS)])
        members.push_async_callback(TopicAdmin(group.cluster).delete, [group.topic])
        first = await group.joined()
        await holds(PARTITIONS, first)
        member, generation = first._coordinator.member_id, first._coordinator.generation
        assert generation == (0 if broker.name == "embedded" else 1)
        assert await group.answer_to_heartbeat(member, generation) == 0
        await first.stop()
        assert await group.answer_to_heartbeat(member, generation) != 0


async def left_by_its_leader(group: Group) -> None:
    """Have a member become the leader of a group and leave before it has formed it."""
    async with group.cluster.admin() as admin:
        node = await admin.find_coordinator(group.name)

        async def answer(member: str) -> Any:
            return await admin._client.send(
                node, JoinGroupRequest(group.name, 2_000, 2_000, member, None, "consumer", PROTOCOLS)
            )

        leader = (await answer("")).member_id
        assert (await answer(leader)).leader_id == leader
        await admin._client.send(node, LeaveGroupRequest(group.name, leader))


@pytest.mark.long
async def test_a_group_whose_leader_is_gone_is_formed_once_it_is_freed(embedded_broker: Broker, prefix: str) -> None:
    async with AsyncExitStack() as members:
        group = Group(embedded_broker, prefix, members)
        await TopicAdmin(group.cluster).create([TopicPlan(group.topic, PARTITIONS)])
        members.push_async_callback(TopicAdmin(group.cluster).delete, [group.topic])
        await left_by_its_leader(group)
        member = await group.joined()
        await asyncio.sleep(5)
        assert not member.assignment(), "it forms by itself: `free_group` is needed no more"
        await free_group(group.cluster, group.name, PROTOCOLS)
        await holds(PARTITIONS, member)
        await free_group(group.cluster, group.name, PROTOCOLS)  # a group that needs none of it
        await asyncio.sleep(5)
        await holds(PARTITIONS, member)
