"""The rules topic as the command sees it: what is current there, and how to add to it."""

from __future__ import annotations

import uuid
from dataclasses import dataclass

import orjson

from metroline.agents.kafka.cluster import Cluster
from metroline.agents.kafka.topic_reader import read_topic
from metroline.agents.kafka.topics import TABLE_BYTES, Topics
from metroline.agents.tables.publication import Publication


@dataclass(frozen=True, slots=True)
class Published:
    """A published table with its version."""

    version: int
    publication: Publication


async def read_published(cluster: Cluster, topics: Topics) -> Published | None:
    """The current version, found as the workers find it: each message counts if it replaces the one before it."""
    current: Published | None = None
    async for message in read_topic(cluster, topics.rules):
        try:
            publication = Publication.of_json(orjson.loads(message.value))
        except (LookupError, TypeError, ValueError):
            continue
        if publication.replaces == (current.version if current else 0):
            current = Published(message.offset + 1, publication)
    return current


async def publish(cluster: Cluster, topics: Topics, publication: Publication) -> int:
    """Adds a version and gives its number; its key is its own, so that compaction keeps every version."""
    async with cluster.producer(max_request_size=TABLE_BYTES) as producer:
        value = orjson.dumps(publication.as_json())
        sent = await producer.send_and_wait(topics.rules, value, key=uuid.uuid4().bytes, partition=0)
    return int(sent.offset) + 1
