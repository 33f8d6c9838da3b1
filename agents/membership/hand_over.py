"""Hands the committed offsets of a stopped line over to the consumer groups of another role assignment."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence

from aiokafka import TopicPartition

from metroline.agents.kafka.cluster import Cluster
from metroline.agents.kafka.topic_admin import TopicAdmin
from metroline.agents.kafka.topics import Topics
from metroline.agents.membership.heartbeat import live_workers
from metroline.agents.membership.roles import Role, group_prefix, parts_of
from metroline.routing.errors import MetrolineError, UsageError

Offsets = dict[TopicPartition, int]


class LineRuns(MetrolineError):
    """Raised when workers of the line are alive during a hand-over."""


class IncompleteAssignment(UsageError):
    """Raised when roles leave a part of the line out or play a part twice."""


async def hand_over(
    cluster: Cluster,
    topics: Topics,
    roles: Sequence[Role],
    stops: Collection[str],
    now: float,
    key: str | None = None,
) -> dict[str, Offsets]:
    """Commit, for the group of each role, the offsets that were reached in its topics; return them by group.

    If several groups have read a topic, the highest offset counts. Raise `IncompleteAssignment` if the roles are not
    the whole line, `LineRuns` if workers are alive at `now`, in seconds since the epoch. `key` is that of the
    line's announcements.
    """
    check_complete(roles, stops)
    alive = (await live_workers(cluster, topics.workers, key)).alive(now)
    if alive:
        raise LineRuns(
            f"{len(alive)} workers are alive ({', '.join(worker.url for worker in alive)}): stop the line first"
        )
    async with cluster.admin() as admin:
        prefix = group_prefix(topics.prefix)
        groups = [group for group, *_ in await admin.list_consumer_groups() if group.startswith(prefix)]
    reached = await highest_committed(cluster, groups, await _partitions(cluster, topics, stops))
    handed_over: dict[str, Offsets] = {}
    for role in roles:
        wanted = {topic for part in role.shared for topic in topics.read_by(part)}
        offsets = {partition: offset for partition, offset in reached.items() if partition.topic in wanted}
        if offsets:
            group = role.group(topics.prefix)
            await _commit(cluster, group, offsets)
            handed_over[group] = offsets
    return handed_over


def check_complete(roles: Iterable[Role], stops: Collection[str]) -> None:
    """Raise `IncompleteAssignment` unless each part of a line with these stops is played by exactly one role."""
    played = [part for role in roles for part in role.parts]
    missing = [part for part in parts_of(stops) if part not in played]
    twice = sorted({part for part in played if played.count(part) > 1})
    if missing or twice:
        what = [f"nobody plays {', '.join(missing)}"] if missing else []
        what += [f"{', '.join(twice)} is played twice"] if twice else []
        raise IncompleteAssignment(f"these roles are not the whole line: {'; '.join(what)}")


async def _partitions(cluster: Cluster, topics: Topics, stops: Iterable[str]) -> list[TopicPartition]:
    names = [topic for part in parts_of(stops) for topic in topics.read_by(part)]
    counts = await TopicAdmin(cluster).partitions(names)
    return [TopicPartition(name, number) for name, count in counts.items() for number in range(count)]


async def highest_committed(cluster: Cluster, groups: Iterable[str], partitions: Sequence[TopicPartition]) -> Offsets:
    """Return the highest offset that one of the groups committed, by partition."""
    highest: Offsets = {}
    for group in groups:
        async with cluster.consumer(group_id=group) as consumer:
            for partition in partitions:
                offset = await consumer.committed(partition)
                if offset is not None and offset > highest.get(partition, 0):
                    highest[partition] = offset
    return highest


async def _commit(cluster: Cluster, group: str, offsets: Offsets) -> None:
    async with cluster.consumer(group_id=group) as consumer:
        consumer.assign(list(offsets))
        await consumer.commit(offsets)
