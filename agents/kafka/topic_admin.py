"""Creates, deletes and describes topics."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field

from aiokafka import TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewPartitions, NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import (
    IncompatibleBrokerVersion,
    InvalidPartitionsError,
    InvalidReplicationFactorError,
    KafkaError,
    KafkaTimeoutError,
    TopicAlreadyExistsError,
    for_code,
)

from metroline.agents.kafka.cluster import Cluster, ClusterError, ClusterSilent
from metroline.agents.kafka.positions import names_of

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
    is_shared: bool = False
    """True if others may use the topic, too. Its partitions and its cleanup policy are theirs once it exists."""


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
        for name, reason in (await self.create_missing(wanted, replication)).items():
            raise ClusterError(f"the topic {name} could not be created: {reason}")
        existing = await self.partitions([plan.name for plan in wanted])
        for plan in wanted:
            if existing[plan.name] != plan.partitions:
                raise ClusterError(f"the topic {plan.name} has {existing[plan.name]} partitions, not {plan.partitions}")

    async def create_missing(
        self, plans: Collection[TopicPlan], replication: int = BROKERS_REPLICATION, *, is_trial: bool = False
    ) -> dict[str, str]:
        """Create the topics that do not exist and wait until the cluster lists them.

        Return the names of those that could not be created, with the reason. With `is_trial` the brokers only say what
        they would refuse; the embedded broker cannot, and creates topics nevertheless.
        """
        existing = await self.partitions([plan.name for plan in plans])
        missing = [plan for plan in plans if plan.name not in existing]
        if not missing:
            return {}
        async with self.cluster.admin() as admin:
            new = [_new_topic(plan, replication) for plan in missing]
            answer = await admin.create_topics(new, validate_only=is_trial)
        refused = {
            name: _reason(code)
            for name, code, *_ in answer.topic_errors
            if code and for_code(code) is not TopicAlreadyExistsError
        }
        if not is_trial:
            await self._wait_for([plan for plan in missing if plan.name not in refused])
        return refused

    async def add_partitions(self, counts: Mapping[str, int], *, is_trial: bool = False) -> dict[str, str]:
        """Give topics more partitions, up to these numbers, and wait until the cluster lists them.

        Return the names of those that the brokers refused, with the reason. With `is_trial` nothing is changed.
        """
        async with self.cluster.admin() as admin:
            refused = await _add_partitions(admin, counts, is_trial)
        if not is_trial:
            await self._wait_for([TopicPlan(name, count) for name, count in counts.items() if name not in refused])
        return refused

    async def _wait_for(self, plans: Collection[TopicPlan]) -> None:
        """Wait until the cluster lists these topics, with at least as many partitions."""
        deadline = asyncio.get_running_loop().time() + APPEAR_SECONDS
        while True:
            found = await self.partitions([plan.name for plan in plans])
            missing = sorted(plan.name for plan in plans if found.get(plan.name, 0) < plan.partitions)
            if not missing:
                return
            if asyncio.get_running_loop().time() > deadline:
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
            try:
                ends = await probe.end_offsets(wanted)
            except KafkaTimeoutError as error:
                names = ", ".join(names_of(wanted))
                raise ClusterSilent(f"{self.cluster.bootstrap} does not say where {names} end: {error}") from error
            for partition, end in ends.items():
                probe.seek(partition, end)
            deadline = asyncio.get_running_loop().time() + FETCH_SECONDS
            while any(probe.highwater(partition) is None for partition in wanted):
                await probe.getmany(timeout_ms=20)
                if asyncio.get_running_loop().time() > deadline:
                    names = ", ".join(names_of(wanted))
                    raise ClusterSilent(f"{self.cluster.bootstrap} does not answer a fetch of {names}")
            return {partition: max(ends[partition], probe.highwater(partition)) for partition in wanted}


async def _add_partitions(admin: AIOKafkaAdminClient, counts: Mapping[str, int], is_trial: bool) -> dict[str, str]:
    """Add partitions with one request, so that no topic has fewer than the others for long.

    The answer tells of one refusal only. After one, each topic is asked for alone, to find the reasons.
    """
    wanted = {topic: NewPartitions(count) for topic, count in counts.items()}
    with suppress(KafkaError):
        await admin.create_partitions(wanted, validate_only=is_trial)
        return {}
    refused = {}
    for topic, new in wanted.items():
        try:
            await admin.create_partitions({topic: new}, validate_only=is_trial)
        except InvalidPartitionsError:  # it has as many by now
            pass
        except IncompatibleBrokerVersion:
            refused[topic] = "the broker cannot add partitions"
        except KafkaError as error:
            refused[topic] = type(error).__name__
    return refused


def _reason(code: int) -> str:
    """Return the reason for which the brokers refused to create a topic."""
    error = for_code(code)
    advice = REPLICATION_ADVICE if error is InvalidReplicationFactorError else ""
    return f"{error.__name__}: {error.description}{advice}"


def _new_topic(plan: TopicPlan, replication: int) -> NewTopic:
    """Return a topic as aiokafka's admin client takes it."""
    topic = NewTopic(plan.name, plan.partitions, 1, topic_configs=plan.config)
    topic.replication_factor = replication  # the constructor of aiokafka refuses -1, which brokers accept
    return topic
