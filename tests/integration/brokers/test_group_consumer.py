"""Members of a group on librdkafka hand partitions over without losing or repeating a message."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Collection, Iterable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from threading import Event

import pytest
from aiokafka import TopicPartition
from confluent_kafka import Consumer, KafkaError
from confluent_kafka import TopicPartition as Position

from metroline.agents.kafka import group_thread
from metroline.agents.kafka.cluster import Cluster
from metroline.agents.kafka.group_consumer import GroupConsumer
from metroline.agents.kafka.group_owner import Offsets
from metroline.agents.kafka.group_thread import PAUSE_SECONDS
from metroline.agents.kafka.tansu import may_leave
from metroline.agents.kafka.topic_admin import TopicAdmin, TopicPlan
from tests.support.brokers import Broker

SESSION_SECONDS = 6.0
"""The shortest session that Apache Kafka accepts."""


@dataclass
class Member:
    """A member of a group, which commits what it took when its partitions are revoked."""

    consumer: GroupConsumer = field(init=False)
    owned: set[TopicPartition] = field(default_factory=set)
    taken: dict[TopicPartition, list[int]] = field(default_factory=dict)
    revocations: int = 0
    answers: list[KafkaError | None] = field(default_factory=list)
    reason: BaseException | None = None
    gates: list[asyncio.Event] = field(default_factory=list)
    """Events for which the member waits before it takes over its first assignments, one after the other."""
    assignments: int = 0

    async def assigned(self, partitions: Collection[TopicPartition]) -> None:
        self.assignments += 1
        for gate in self.gates[self.assignments - 1 : self.assignments]:
            await gate.wait()
        self.owned |= set(partitions)

    async def revoked(self, partitions: Collection[TopicPartition], deadline: float) -> None:
        self.revocations += 1
        if time.monotonic() < deadline:
            self.commit(partitions)
        self.owned -= set(partitions)

    def commit(self, partitions: Collection[TopicPartition]) -> None:
        reached = {partition: self.taken[partition][-1] + 1 for partition in partitions if partition in self.taken}
        if reached:
            self.consumer.commit(reached, {})

    def reached_end(self, partition: TopicPartition, offset: int) -> None:
        pass

    def committed(self, offsets: Offsets, error: KafkaError | None) -> None:
        self.answers.append(error)

    async def crash(self, reason: BaseException) -> None:
        self.reason = reason

    async def take(self) -> None:
        await self.consumer.wait(0.1)
        for partition, messages in self.consumer.take().items():
            self.taken.setdefault(partition, []).extend(message.offset() or 0 for message in messages)


class Group:
    """Members of one group that read one topic of two partitions."""

    def __init__(self, broker: Broker, name: str, members: AsyncExitStack) -> None:
        self.cluster = Cluster.at(broker.url)
        self.name = name
        self.topic = f"{name}.source"
        self._members = members
        self._config = {
            **self.cluster.librdkafka,
            "session.timeout.ms": int(SESSION_SECONDS * 1000),
            "heartbeat.interval.ms": 1_000,
            "fetch.wait.max.ms": 5 if broker.name == "embedded" else 500,
        }

    async def create(self) -> None:
        await TopicAdmin(self.cluster).create([TopicPlan(self.topic, 2)])
        self._members.push_async_callback(TopicAdmin(self.cluster).delete, [self.topic])

    def join(self, instance: str | None = None, gates: Iterable[asyncio.Event] = ()) -> Member:
        member = Member(gates=list(gates))
        config = self._config | ({"group.instance.id": instance} if instance else {})
        member.consumer = GroupConsumer(config, self.name, "member", [self.topic], member)
        self._members.push_async_callback(self.leave, member)
        return member

    async def only_member(self) -> Member:
        """Create the topic, and return a member that owns both partitions."""
        await self.create()
        member = self.join()
        await owning(2, member)
        return member

    async def leave(self, member: Member) -> None:
        await member.consumer.close(leave=await may_leave(self.cluster, member.consumer))

    async def push(self, numbers: range) -> None:
        """Send a message to each partition for each number."""
        async with self.cluster.producer() as producer:
            for number in numbers:
                for partition in range(2):
                    await producer.send_and_wait(self.topic, b"%d" % number, partition=partition)


@pytest.fixture
async def members() -> AsyncExitStack:
    return AsyncExitStack()


async def until(holds: Callable[[], bool]) -> None:
    while not holds():
        await asyncio.sleep(0.01)


async def owning(count: int, *members: Member) -> None:
    """Take messages until each member owns `count` partitions."""
    async with asyncio.timeout(40):
        while any(len(member.owned) != count for member in members):
            for member in members:
                await member.take()


async def taken(count: int, *members: Member) -> list[int]:
    """Take messages until there are `count`; return all offsets."""
    offsets: list[int] = []
    async with asyncio.timeout(20):
        while len(offsets) < count:
            for member in members:
                await member.take()
            offsets = [offset for member in members for taken in member.taken.values() for offset in taken]
    return sorted(offsets)


async def test_partitions_change_hands_and_nothing_is_lost_or_repeated(
    broker: Broker, prefix: str, members: AsyncExitStack
) -> None:
    async with members:
        group = Group(broker, prefix, members)
        await group.create()
        first = group.join()
        await owning(2, first)
        await group.push(range(20))
        await taken(40, first)
        second = group.join()
        await owning(1, first, second)
        await group.push(range(20, 30))

        assert await taken(60, first, second) == [number for number in range(30) for _ in range(2)]
        assert first.answers
        assert not any(first.answers)

        first.commit(first.owned)
        second.commit(second.owned)
        await group.leave(second)
        await owning(2, first)
        await group.push(range(30, 35))
        assert await taken(70, first, second) == [number for number in range(35) for _ in range(2)]


async def test_a_partition_that_the_client_reads_no_more_is_read_again_from_where_it_was(
    broker: Broker, prefix: str, members: AsyncExitStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(group_thread, "PAUSE_SECONDS", 600.0)  # the thread would resume what it paused meanwhile
    async with members:
        group = Group(broker, prefix, members)
        member = await group.only_member()
        await group.push(range(5))
        await taken(10, member)
        both = [Position(group.topic, number) for number in range(2)]
        is_paused = Event()

        def pause(client: Consumer) -> None:
            client.pause(both)
            is_paused.set()

        member.consumer._thread.post(pause)
        await asyncio.to_thread(is_paused.wait, 20)
        await group.push(range(5, 10))
        for _ in range(20):
            await member.take()
        assert await taken(10, member) == [number for number in range(5) for _ in range(2)]

        await member.consumer.read_again(dict.fromkeys(member.owned, 5))
        assert await taken(20, member) == [number for number in range(10) for _ in range(2)]


async def test_a_member_that_prepares_when_its_group_rebalances_has_joined_with_its_new_partitions(
    broker: Broker, prefix: str, members: AsyncExitStack
) -> None:
    first_gate, second_gate = asyncio.Event(), asyncio.Event()
    async with members, asyncio.timeout(60):
        group = Group(broker, prefix, members)
        await group.create()
        first = group.join(gates=[first_gate, second_gate])
        await until(lambda: first.assignments == 1)
        second = group.join()
        await until(lambda: first.assignments == 2)
        first_gate.set()
        await until(lambda: bool(first.owned))
        await asyncio.sleep(0)
        assert not first.consumer.is_joined, "what it prepared for is not its own any more"
        second_gate.set()
        await until(lambda: first.consumer.is_joined and second.consumer.is_joined)
        await group.push(range(5))
        assert await taken(10, first, second) == [number for number in range(5) for _ in range(2)]


async def test_a_busy_event_loop_costs_no_membership(broker: Broker, prefix: str, members: AsyncExitStack) -> None:
    async with members:
        group = Group(broker, prefix, members)
        member = await group.only_member()

        time.sleep(SESSION_SECONDS + 2)

        await group.push(range(5))
        assert await taken(10, member) == [number for number in range(5) for _ in range(2)]
        assert member.revocations == 0


async def test_what_is_not_wanted_for_a_while_is_neither_skipped_nor_repeated(
    broker: Broker, prefix: str, members: AsyncExitStack
) -> None:
    async with members:
        group = Group(broker, prefix, members)
        member = await group.only_member()
        for at in range(0, 30, 10):
            await group.push(range(at, at + 10))
            await taken(2 * at + 1, member)
            await asyncio.sleep(PAUSE_SECONDS + 0.3)  # the thread pauses what is fetched already

        assert await taken(60, member) == [number for number in range(30) for _ in range(2)]


async def test_a_paused_partition_goes_on_where_it_stopped(
    broker: Broker, prefix: str, members: AsyncExitStack
) -> None:
    async with members:
        group = Group(broker, prefix, members)
        member = await group.only_member()
        await group.push(range(5))
        await taken(10, member)
        paused = TopicPartition(group.topic, 0)
        member.consumer.pause([paused])
        await member.consumer.committed([paused])  # the answer comes after the pause
        await group.push(range(5, 10))
        await taken(15, member)
        assert member.taken[paused] == list(range(5))

        member.consumer.resume([paused])

        assert await taken(20, member) == [number for number in range(10) for _ in range(2)]


@pytest.mark.parametrize("broker", ["kafka"], indirect=True)  # the embedded one does not fence the older one
async def test_a_static_member_is_back_without_a_rebalance_and_ends_when_another_has_its_name(
    broker: Broker, prefix: str, members: AsyncExitStack
) -> None:
    async with members:
        group = Group(broker, prefix, members)
        await group.create()
        first, second = group.join("first"), group.join("second")
        await owning(1, first, second)
        rebalances = second.revocations

        await group.leave(first)
        again = group.join("first")
        await owning(1, again)
        assert second.revocations == rebalances

        group.join("first")
        async with asyncio.timeout(20):
            while again.reason is None:
                await again.take()
        assert str(again.reason).startswith(f"member cannot read {group.topic} any more: ")


@pytest.mark.long
async def test_a_group_that_its_leader_leaves_while_it_forms_forms_again(
    broker: Broker, prefix: str, members: AsyncExitStack
) -> None:
    async with members:
        group = Group(broker, prefix, members)
        await group.create()
        leader = group.join()
        await owning(2, leader)
        heir = group.join()
        async with asyncio.timeout(20):
            while not leader.revocations:  # the group is being formed from now on
                await asyncio.sleep(0.01)

        await group.leave(leader)

        await owning(2, heir)


async def test_a_question_that_nobody_waits_for_any_more_ends_no_member(
    embedded_broker: Broker, prefix: str, members: AsyncExitStack
) -> None:
    async with members:
        group = Group(embedded_broker, prefix, members)
        await group.create()
        member = group.join()
        await owning(2, member)
        is_free = threading.Event()
        member.consumer._thread.post(lambda _: is_free.wait(30))

        asked = asyncio.create_task(member.consumer.identity())
        await asyncio.sleep(0.1)
        asked.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asked
        is_free.set()

        await member.consumer.identity()
        assert member.reason is None
