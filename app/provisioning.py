"""Creates the topics of a line before a worker subscribes to any of them."""

from __future__ import annotations

from metroline.agents.kafka.cluster import Cluster, ClusterError
from metroline.agents.kafka.topic_admin import TopicAdmin, TopicPlan
from metroline.agents.services.line import Line
from metroline.app.settings import InvalidSettings, Settings
from metroline.routing.journeys.departures import Limits

OVERHEAD_BYTES = 1_024
"""Bytes of a message that are left to its headers and its batch."""


async def provision(settings: Settings, line: Line) -> Limits:
    """Create the topics that are missing, with as many partitions as the source. Return the limits of envelopes.

    Raise `ClusterError` if a topic cannot be created or does not fit the others, and `InvalidSettings` if PACK_BYTES is
    more than a message of the source topic may have.
    """
    cluster, topics = settings.cluster(), settings.topics(line)
    partitions = await _source_partitions(cluster, topics.source, settings)
    admin, replication = TopicAdmin(cluster), settings.topic_replication_factor
    message_bytes = await admin.message_bytes(topics.source)
    if settings.pack_bytes > message_bytes:
        raise InvalidSettings(
            f"PACK_BYTES: {settings.pack_bytes} is more than the {message_bytes} that a message may hold"
        )
    await admin.create(topics.plans(partitions, line.stops, message_bytes), replication)
    return Limits(settings.pack_bytes, settings.pack_records, 2 * message_bytes - OVERHEAD_BYTES, settings.max_hops)


async def _source_partitions(cluster: Cluster, source: str, settings: Settings) -> int:
    """Return the number of partitions of the source topic, which is created if it does not exist."""
    admin = TopicAdmin(cluster)
    found = await admin.partitions([source])
    if source not in found:
        await admin.create([TopicPlan(source, settings.source_partitions)], settings.topic_replication_factor)
        found = await admin.partitions([source])
    if not (partitions := found.get(source, 0)):
        raise ClusterError(f"the source topic {source} has no partitions")
    return partitions


class Provisioning:
    """Provisions the topics of a line once, and knows the limits of its envelopes afterwards."""

    def __init__(self, settings: Settings, line: Line, limits: Limits | None = None) -> None:
        """Take the limits if the topics are provisioned already."""
        self._settings = settings
        self._line = line
        self._limits = limits

    async def run(self) -> None:
        """Provision the topics unless that is done; raise `ClusterError` or `InvalidSettings`."""
        if self._limits is None:
            self._limits = await provision(self._settings, self._line)

    def limits(self) -> Limits:
        """Return the limits of envelopes."""
        assert self._limits is not None, "nothing is sent before the topics are provisioned"
        return self._limits
