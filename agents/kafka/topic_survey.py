"""Describes topics and groups as a user of the cluster sees them: partitions, settings, and what the user may do."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any

from confluent_kafka import KafkaError, KafkaException, TopicCollection
from confluent_kafka.admin import AclOperation, AdminClient, ConfigResource, ResourceType

from metroline.agents.kafka.cluster import Cluster, ClusterError, ClusterSilent
from metroline.agents.kafka.complaints import Complaints, is_silence, library_log

ANSWER_SECONDS = 15.0
"""Time that the brokers have to answer a question."""

RIGHTS = {
    AclOperation.READ: "Read",
    AclOperation.WRITE: "Write",
    AclOperation.CREATE: "Create",
    AclOperation.DELETE: "Delete",
    AclOperation.ALTER: "Alter",
    AclOperation.DESCRIBE: "Describe",
    AclOperation.DESCRIBE_CONFIGS: "DescribeConfigs",
    AclOperation.ALTER_CONFIGS: "AlterConfigs",
}
"""The operations on a topic, under the names that `kafka-acls.sh` takes."""

MISSING = (KafkaError.UNKNOWN_TOPIC_OR_PART, KafkaError._UNKNOWN_TOPIC)

Futures = Mapping[Any, "Future[Any]"]


@dataclass(frozen=True, slots=True)
class FoundTopic:
    """A topic that exists. The keys of `config` are Kafka's own names."""

    partitions: int
    rights: frozenset[str] | None = None
    """The operations that the user is allowed, as in `RIGHTS`; None if the brokers do not say."""
    config: Mapping[str, str] | None = None
    """The settings that the brokers tell; None if the user may not read them."""


@dataclass(frozen=True, slots=True)
class Survey:
    """Topics and groups as they were at one moment."""

    topics: Mapping[str, FoundTopic] = field(default_factory=dict)
    """The topics that exist, by name."""
    hidden: frozenset[str] = frozenset()
    """Topics with which the user may do nothing. Whether they exist is not said."""
    closed_groups: frozenset[str] = frozenset()
    """Consumer groups with which the user may do nothing."""


def admin_client(cluster: Cluster, name: str) -> AdminClient:
    """Return an admin client of librdkafka; `name` stands in the log."""
    return AdminClient({**cluster.librdkafka, **Complaints(name).config}, logger=library_log)


async def survey(cluster: Cluster, topics: Collection[str], groups: Collection[str] = ()) -> Survey:
    """Describe these topics, of which there is at least one, and groups; raise `ClusterError`."""
    return await asyncio.to_thread(_survey, cluster, sorted(topics), sorted(groups))


async def topic_id(cluster: Cluster, topic: str) -> str | None:
    """Return the id of a topic, which another one with its name does not have; None if it does not exist.

    Raise `ClusterError`.
    """
    return await asyncio.to_thread(_topic_id, cluster, topic)


async def why_absent(cluster: Cluster, topic: str) -> str:
    """Return why the brokers do not list a topic for this user; raise `ClusterError`."""
    if topic in (await survey(cluster, [topic])).hidden:
        return f"the user has no right on the topic {topic}, or it does not exist"
    return f"there is no topic {topic}"


def _topic_id(cluster: Cluster, topic: str) -> str | None:
    client = admin_client(cluster, "topic id")
    described, _ = _answers(
        client.describe_topics(TopicCollection([topic]), request_timeout=ANSWER_SECONDS),
        KafkaError.TOPIC_AUTHORIZATION_FAILED,
    )
    return str(described[topic].topic_id) if topic in described else None


def _survey(cluster: Cluster, topics: list[str], groups: list[str]) -> Survey:
    client = admin_client(cluster, "survey")
    asked = {"request_timeout": ANSWER_SECONDS}
    of_topics = client.describe_topics(TopicCollection(topics), include_authorized_operations=True, **asked)
    described, hidden = _answers(of_topics, KafkaError.TOPIC_AUTHORIZATION_FAILED)
    configs = _configs(client, list(described)) if described else {}
    of_groups = client.describe_consumer_groups(groups, **asked) if groups else {}
    found = {
        name: FoundTopic(len(topic.partitions), _rights(topic.authorized_operations), configs.get(name))
        for name, topic in described.items()
    }
    return Survey(found, frozenset(hidden), frozenset(_closed(of_groups)))


def _configs(client: AdminClient, topics: list[str]) -> dict[str, dict[str, str]]:
    asked = [ConfigResource(ResourceType.TOPIC, name) for name in topics]
    described, _ = _answers(
        client.describe_configs(asked, request_timeout=ANSWER_SECONDS), KafkaError.TOPIC_AUTHORIZATION_FAILED
    )
    return {
        resource.name: {name: entry.value for name, entry in entries.items() if entry.value is not None}
        for resource, entries in described.items()
    }


def _answers(futures: Futures, refusal: int) -> tuple[dict[Any, Any], set[Any]]:
    """Return the answers, and the questions that were refused. What does not exist is in neither."""
    answers, refused = {}, set()
    for question, future in futures.items():
        try:
            answers[question] = future.result(2 * ANSWER_SECONDS)
        except KafkaException as error:
            reason = error.args[0]
            if reason.code() == refusal:
                refused.add(question)
            elif reason.code() not in MISSING:
                kind = ClusterSilent if is_silence(reason) else ClusterError
                raise kind(f"the cluster does not describe {question}: {reason.str()}") from error
        except TimeoutError as error:
            raise ClusterSilent(f"the cluster does not describe {question} in time") from error
    return answers, refused


def _closed(futures: Futures) -> set[str]:
    """Return the groups that the user may not describe; other errors say nothing about that."""
    closed = set()
    for group, future in futures.items():
        try:
            future.result(2 * ANSWER_SECONDS)
        except KafkaException as error:
            if error.args[0].code() == KafkaError.GROUP_AUTHORIZATION_FAILED:
                closed.add(group)
    return closed


def _rights(operations: Collection[AclOperation] | None) -> frozenset[str] | None:
    return None if operations is None else frozenset(RIGHTS[one] for one in operations if one in RIGHTS)
