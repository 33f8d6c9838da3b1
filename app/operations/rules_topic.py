"""The topic with the published rules tables: read the current one and earlier ones, and add another."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator
from dataclasses import dataclass

import orjson

from metroline.agents.kafka.cluster import Cluster
from metroline.agents.kafka.topic_reader import read_topic
from metroline.agents.kafka.topics import TABLE_BYTES, Topics
from metroline.agents.tables.publication import NotAPublication, Publication
from metroline.app.operations.permission import Permission


@dataclass(frozen=True, slots=True)
class PublishedRules:
    """A published table with its version."""

    version: int
    publication: Publication

    @property
    def text(self) -> str:
        return self.publication.text


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
            yield PublishedRules(version, publication)


async def read_published(cluster: Cluster, topics: Topics) -> PublishedRules | None:
    """Return the current version; None if there is none yet."""
    current: PublishedRules | None = None
    async for version in published_versions(cluster, topics):
        current = version
    return current


async def publish(cluster: Cluster, topics: Topics, publication: Publication, permission: Permission) -> int:
    """Write a publication and return its version. Each message has a key of its own: compaction keeps every version.

    Raise `NotPermitted` if whoever publishes may not write.
    """
    permission.demand()
    async with cluster.producer(max_request_size=TABLE_BYTES) as producer:
        value = orjson.dumps(publication.as_json())
        sent = await producer.send_and_wait(topics.rules, value, key=uuid.uuid4().bytes, partition=0)
    return int(sent.offset) + 1
