"""Reads what a line delivered, one record a message."""

from __future__ import annotations

from collections.abc import AsyncIterator

from metroline.agents.kafka.cluster import Cluster
from metroline.agents.kafka.topic_reader import read_topic
from metroline.routing.messages.plain import ID_HEADER


async def delivered_ids(cluster: Cluster, topic: str) -> AsyncIterator[str]:
    """Yield the id of each message of a topic of plain messages."""
    async for message in read_topic(cluster, topic):
        yield dict(message.headers)[ID_HEADER].decode()
