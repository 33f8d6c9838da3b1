"""What is done before a worker subscribes to anything: topics are created and other cuts of roles are looked for."""

from __future__ import annotations

from dataclasses import dataclass

from metroline.agents.kafka.cluster import ClusterError, TopicPlan
from metroline.agents.services.line import Line
from metroline.app.settings import InvalidSettings, Settings
from metroline.routing.journeys.departures import Limits


@dataclass(frozen=True, slots=True)
class Preparation:
    """What was found out about the source topic."""

    partitions: int
    limits: Limits


async def prepare(settings: Settings, line: Line) -> Preparation:
    """Creates the line's topics with the partitions of its source; raises `ClusterError` or `InvalidSettings`."""
    cluster, topics = settings.cluster(), settings.topics(line)
    found = await cluster.partitions([topics.source])
    if topics.source not in found:
        await cluster.create([TopicPlan(topics.source, settings.source_partitions)], settings.topic_replication_factor)
        found = await cluster.partitions([topics.source])
    partitions = found.get(topics.source, 0)
    if not partitions:
        raise ClusterError(f"the source topic {topics.source} has no partitions")
    message_bytes = await cluster.message_bytes(topics.source)
    if settings.pack_bytes > message_bytes:
        raise InvalidSettings(
            f"PACK_BYTES: {settings.pack_bytes} is more than the {message_bytes} that a message may hold"
        )
    await cluster.create(topics.plans(partitions, line.stops, message_bytes), settings.topic_replication_factor)
    limits = Limits(settings.pack_bytes, settings.pack_records, 2 * message_bytes - 1_024, settings.max_hops)
    return Preparation(partitions, limits)
