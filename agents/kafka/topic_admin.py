"""Creates, deletes and describes topics."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field

from aiokafka import TopicPartition
from aiokafka.admin import NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import InvalidReplicationFactorError, KafkaError, TopicAlreadyExistsError, for_code

from metroline.agents.kafka.cluster import Cluster, ClusterError

DEFAULT_MESSAGE_BYTES = 1_048_588
"""Kafka's default of `max.message.bytes`."""

BROKERS_REPLICATION = -1
"""The replication factor that the brokers choose themselves: their `default.replication.factor` (KIP-464)."""

REPLICATION_ADVICE = ": set TOPIC_REPLICATION_FACTOR to a number of copies for which the cluster has enough brokers"

APPEAR_SECONDS = 30.0
"""Time that a new topic may take until the cluster lists it."""

FETCH_SECONDS = 10.0
"""Time that the brokers have to answer a fetch of a high watermark."""


@dataclass(frozen=True, slots=True)
class TopicPlan:
    """A topic to create. The keys of `config` are Kafka's own names."""

    name: str
    partitions: int
    config: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class TopicAdmin:
    """The topics of a cluster. Every method raises `ClusterError` if the cluster does not answer."""

    cluster: Cluster

    async def partitions(self, topics: Collection[str]) -> dict[str, int]:
        """Return the number of partitions of each of these topics that exists."""
        async with self.cluster.admin() as admin:
            existing = set(await admin.list_topics()) & set(topics)
            described = await admin.describe_topics(list(existing)) if existing else []
        return {topic["topic"]: len(topic["partitions"]) for topic in described if topic["error_code"] == 0}

    async def create(self, plans: Iterable[TopicPlan], replication: int = BROKERS_REPLICATION) -> None:
        """Create the topics that do not exist and wait until the cluster lists them.

        Raise `ClusterError` if one cannot be created, or if one has another number of partitions than planned.
        """
        wanted = list(plans)
        existing = await self.partitions([plan.name for plan in wanted])
        missing = [plan for plan in wanted if plan.name not in existing]
        if missing:
            await self._create(missing, replication)
            existing = await self._wait_for(wanted)
        for plan in wanted:
            if existing[plan.name] != plan.partitions:
                raise ClusterError(
                    f"the topic {plan.name} has {existing[plan.name]} partitions, its source has {plan.partitions}: "
                    "give the line another PREFIX, or delete its topics while it is stopped"
                )

    async def _create(self, plans: list[TopicPlan], replication: int) -> None:
        async with self.cluster.admin() as admin:
            answer = await admin.create_topics([_new_topic(plan, replication) for plan in plans])
        for name, code, *_ in answer.topic_errors:
            error = for_code(code)
            if code and error is not TopicAlreadyExistsError:
                advice = REPLICATION_ADVICE if error is InvalidReplicationFactorError else ""
                raise ClusterError(
                    f"the topic {name} could not be created: {error.__name__}: {error.description}{advice}"
                )

    async def _wait_for(self, plans: list[TopicPlan]) -> dict[str, int]:
        deadline = asyncio.get_running_loop().time() + APPEAR_SECONDS
        while True:
            found = await self.partitions([plan.name for plan in plans])
            if len(found) == len(plans):
                return found
            if asyncio.get_running_loop().time() > deadline:
                missing = sorted({plan.name for plan in plans} - found.keys())
                raise ClusterError(f"the topics {', '.join(missing)} were created but did not appear")
            await asyncio.sleep(0.1)

    async def delete(self, topics: Iterable[str]) -> None:
        """Delete those of these topics that exist."""
        async with self.cluster.admin() as admin:
            existing = sorted(set(await admin.list_topics()) & set(topics))
            if existing:
                await admin.delete_topics(existing)

    async def topics_below(self, prefix: str) -> list[str]:
        """Return the names of the topics that begin with `prefix.`, sorted."""
        async with self.cluster.admin() as admin:
            return sorted(name for name in await admin.list_topics() if name.startswith(f"{prefix}."))

    async def message_bytes(self, topic: str) -> int:
        """Return the size limit of the topic's messages, in bytes; Kafka's default if the broker does not say."""
        try:
            async with self.cluster.admin() as admin:
                for answer in await admin.describe_configs([ConfigResource(ConfigResourceType.TOPIC, topic)]):
                    for resource in answer.resources:
                        for name, value, *_ in resource[4]:
                            if name == "max.message.bytes":
                                return int(value)
        except (KafkaError, LookupError, ValueError):  # the embedded broker does not describe its topics
            pass
        return DEFAULT_MESSAGE_BYTES

    async def high_watermarks(self, partitions: Iterable[TopicPartition]) -> dict[TopicPartition, int]:
        """Return the offset after the last message of each partition, as a fetch reports it.

        ListOffsets is not reliable: the embedded broker answers with the base offset of the last batch + 1.
        """
        wanted = [TopicPartition(topic, partition) for topic, partition in partitions]
        if not wanted:
            return {}
        async with self.cluster.consumer(fetch_max_wait_ms=10, max_partition_fetch_bytes=1) as probe:
            probe.assign(wanted)
            ends = await probe.end_offsets(wanted)
            for partition, end in ends.items():
                probe.seek(partition, end)
            deadline = asyncio.get_running_loop().time() + FETCH_SECONDS
            while any(probe.highwater(partition) is None for partition in wanted):
                await probe.getmany(timeout_ms=20)
                if asyncio.get_running_loop().time() > deadline:
                    raise ClusterError(f"{self.cluster.bootstrap} does not answer a fetch of {wanted}")
            return {partition: max(ends[partition], probe.highwater(partition)) for partition in wanted}


def _new_topic(plan: TopicPlan, replication: int) -> NewTopic:
    """Return a topic as aiokafka's admin client takes it."""
    topic = NewTopic(plan.name, plan.partitions, 1, topic_configs=plan.config)
    topic.replication_factor = replication  # the constructor of aiokafka refuses -1, which brokers accept
    return topic
