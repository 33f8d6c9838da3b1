"""Creates the topics of a line before a worker subscribes to anything."""

from __future__ import annotations

from dataclasses import dataclass

from metroline.agents.kafka.cluster import ClusterError
from metroline.agents.kafka.topic_admin import TopicAdmin, TopicPlan
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
    found = await TopicAdmin(cluster).partitions([topics.source])
    if topics.source not in found:
        await TopicAdmin(cluster).create(
            [TopicPlan(topics.source, settings.source_partitions)], settings.topic_replication_factor
        )
        found = await TopicAdmin(cluster).partitions([topics.source])
    partitions = found.get(topics.source, 0)
    if not partitions:
        raise ClusterError(f"the source topic {topics.source} has no partitions")
    message_bytes = await TopicAdmin(cluster).message_bytes(topics.source)
    if settings.pack_bytes > message_bytes:
        raise InvalidSettings(
            f"PACK_BYTES: {settings.pack_bytes} is more than the {message_bytes} that a message may hold"
        )
    await TopicAdmin(cluster).create(
        topics.plans(partitions, line.stops, message_bytes), settings.topic_replication_factor
    )
    limits = Limits(settings.pack_bytes, settings.pack_records, 2 * message_bytes - 1_024, settings.max_hops)
    return Preparation(partitions, limits)


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
            self._limits = (await prepare(self._settings, self._line)).limits

    def limits(self) -> Limits:
        """Return the limits of envelopes."""
        assert self._limits is not None, "nothing is sent before the topics are provisioned"
        return self._limits
