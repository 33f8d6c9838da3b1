"""The topic with the published rules tables: read the current one and earlier ones, and add another."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator
from dataclasses import dataclass

import orjson
from aiokafka.errors import KafkaError, KafkaTimeoutError, UnknownError

from metroline.agents.kafka.cluster import Cluster, ClusterError
from metroline.agents.kafka.topic_reader import read_topic
from metroline.agents.kafka.topics import TABLE_BYTES, Topics
from metroline.agents.tables.publication import NotAPublication, Publication
from metroline.app.operations.permission import Permission
from metroline.routing.errors import MetrolineError


class Unconfirmed(MetrolineError):
    """Raised when a publication was sent and the cluster did not say what became of it."""

    def __init__(self) -> None:
        super().__init__(
            "the cluster did not answer, so that it is not known whether the table was published: look at the versions"
        )


@dataclass(frozen=True, slots=True)
class PublishedRules:
    """A published table with its version."""

    version: int
    publication: Publication
    key: bytes | None = None
    """The key of its message."""

    @property
    def text(self) -> str:
        return self.publication.text


@dataclass(frozen=True, slots=True)
class Written:
    """The versions of a line after a publication was written."""

    version: int | None
    """The version that the publication became; None if another one had replaced the same version before it."""
    current: PublishedRules | None
    """The current version, which is a later one if others went on from this one at once."""


async def published_versions(cluster: Cluster, topics: Topics) -> AsyncIterator[PublishedRules]:
    """Yield the versions that were current, oldest first, as workers find them: each replaces the one before it."""
    version = 0
    async for message in read_topic(cluster, topics.rules):
        try:
            publication = Publication.decode(message.value)
        except NotAPublication:
            continue
        if publication.replaces == version:
            version = message.offset + 1
            yield PublishedRules(version, publication, message.key)


async def read_published(cluster: Cluster, topics: Topics) -> PublishedRules | None:
    """Return the current version; None if there is none yet."""
    current: PublishedRules | None = None
    async for version in published_versions(cluster, topics):
        current = version
    return current


async def publish(
    cluster: Cluster, topics: Topics, publication: Publication, permission: Permission, key: bytes | None = None
) -> int:
    """Write a publication and return the version that it becomes if it replaces the current one.

    Each message has a key of its own, by default a new one: compaction keeps every version. Raise `NotPermitted` if
    whoever publishes may not write.
    """
    permission.demand()
    async with cluster.producer(max_request_size=TABLE_BYTES) as producer:
        value = orjson.dumps(publication.as_json())
        sent = await producer.send_and_wait(topics.rules, value, key=key or uuid.uuid4().bytes, partition=0)
    return int(sent.offset) + 1


async def publish_and_look(
    cluster: Cluster, topics: Topics, publication: Publication, permission: Permission
) -> Written:
    """Write a publication, as `publish` does, and return what became of it; raise `Unconfirmed` if that is not known.

    It is found by its key: a client whose first attempt was written without a confirmation writes it twice, and then
    the offset is that of the second message, which no worker applies.
    """
    key = uuid.uuid4().bytes
    try:
        await publish(cluster, topics, publication, permission, key)
    except KafkaError as error:
        if error.retriable or isinstance(error, (KafkaTimeoutError, UnknownError)):
            raise Unconfirmed from error
        raise
    version, current = None, None
    try:
        async for one in published_versions(cluster, topics):
            version, current = one.version if one.key == key else version, one
    except (ClusterError, KafkaError) as error:
        raise Unconfirmed from error
    return Written(version, current)
