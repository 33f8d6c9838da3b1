"""Reads what a line delivered, and its dead letters, one record a message."""

from __future__ import annotations

from collections.abc import AsyncIterator

from aiokafka.structs import ConsumerRecord

from metroline.agents.kafka.cluster import Cluster
from metroline.agents.kafka.topic_reader import read_topic
from metroline.routing.journeys.dead_letter_messages import read_dead_letter
from metroline.routing.messages.envelope import Envelope
from metroline.routing.messages.plain import ID_HEADER


async def delivered_ids(cluster: Cluster, topic: str) -> AsyncIterator[str]:
    """Yield the id of each message of a topic of plain messages."""
    async for message in read_topic(cluster, topic):
        yield dict(message.headers)[ID_HEADER].decode()


def dead_letter_in(message: ConsumerRecord) -> Envelope:
    """Return the dead letter in a message."""
    return read_dead_letter(message.value, message.key, message.headers, message.timestamp)[0]
