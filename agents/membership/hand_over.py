"""Carries the groups' offsets over to another cut of roles, while the line is stopped."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from aiokafka import TopicPartition

from metroline.agents.kafka.cluster import Cluster
from metroline.agents.kafka.topics import Topics
from metroline.agents.membership.heartbeat import live_workers
from metroline.agents.membership.roles import PARTS, SERVICE, Role
from metroline.routing.errors import MetrolineError, UsageError

GROUP_MARK = "@"


class LineRuns(MetrolineError):
    """Raised when workers are alive while offsets are to be carried over."""


class IncompleteCut(UsageError):
    """Raised when the new roles leave a part of the line out, or play one twice."""


async def hand_over(
    cluster: Cluster, topics: Topics, cut: list[Role], stops: Collection[str], now: float
) -> dict[str, dict[TopicPartition, int]]:
    """Gives each group of the new cut the offsets up to which its topics were read; gives what it gave.

    Of several earlier groups that read a topic, the one that came farthest counts: every cut reads on from the last.
    """
    _check_complete(cut, stops)
    alive = (await live_workers(cluster, topics.workers)).alive(now)
    if alive:
        raise LineRuns(
            f"{len(alive)} workers are alive ({', '.join(worker.url for worker in alive)}): stop the line first"
        )
    async with cluster.admin() as admin:
        groups = [
            group for group, *_ in await admin.list_consumer_groups() if group.startswith(topics.prefix + GROUP_MARK)
        ]
    read = await _read_up_to(cluster, groups, await _partitions(cluster, topics, stops))
    given: dict[str, dict[TopicPartition, int]] = {}
    for role in cut:
        wanted = {topic for part in role.shared for topic in topics.read_by(part)}
        offsets = {partition: offset for partition, offset in read.items() if partition.topic in wanted}
        if offsets:
            await _commit(cluster, role.group(topics.prefix), offsets)
            given[role.group(topics.prefix)] = offsets
    return given


def _check_complete(cut: list[Role], stops: Collection[str]) -> None:
    every = [*PARTS, *(f"{SERVICE}{stop}" for stop in sorted(stops))]
    played = [part for role in cut for part in role.parts]
    missing = [part for part in every if part not in played]
    twice = sorted({part for part in played if played.count(part) > 1})
    if missing or twice:
        what = [f"nobody plays {', '.join(missing)}"] if missing else []
        what += [f"{', '.join(twice)} is played twice"] if twice else []
        raise IncompleteCut(f"these roles are no cut of the line: {'; '.join(what)}")


async def _partitions(cluster: Cluster, topics: Topics, stops: Iterable[str]) -> list[TopicPartition]:
    names = [topic for part in (*PARTS, *(f"{SERVICE}{stop}" for stop in stops)) for topic in topics.read_by(part)]
    counts = await cluster.partitions(names)
    return [TopicPartition(name, number) for name, count in counts.items() for number in range(count)]


async def _read_up_to(
    cluster: Cluster, groups: Iterable[str], partitions: list[TopicPartition]
) -> dict[TopicPartition, int]:
    read: dict[TopicPartition, int] = {}
    for group in groups:
        async with cluster.consuming(group_id=group) as consumer:
            for partition in partitions:
                offset = await consumer.committed(partition)
                if offset is not None and offset > read.get(partition, 0):
                    read[partition] = offset
    return read


async def _commit(cluster: Cluster, group: str, offsets: dict[TopicPartition, int]) -> None:
    async with cluster.consuming(group_id=group) as consumer:
        consumer.assign(list(offsets))
        await consumer.commit(offsets)
