"""The topics of a line's ends, of which some belong to others and may have any number of partitions."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Collection

from metroline.agents.kafka.cluster import ClusterError
from metroline.agents.kafka.topics import Topics
from metroline.routing.journeys.ends import Ends

RETRY_SECONDS = 1.0
"""Time between two questions about the partitions of a topic."""

Count = Callable[[Collection[str]], Awaitable[dict[str, int]]]
"""Returns the number of partitions of each of these topics that exists; raises `ClusterError`."""

log = logging.getLogger(__name__)


class EndTopics:
    """Knows the ends of a line with their topics, and the partition to which a message without a key goes."""

    def __init__(self, ends: Ends, topics: Topics, count: Count) -> None:
        self.ends = ends
        self._topics = topics
        self._count = count
        self._partitions: dict[str, int] = {}
        """The number of partitions of the topics that were asked for. It can only grow, so an old one will do."""

    def topic(self, end: str) -> str:
        """Return the topic of an end."""
        return self._topics.end(end)

    async def partition(self, end: str, partition: int) -> int:
        """Return the partition of an end for messages without a key whose origin is this partition of the source.

        The line's own topics have as many partitions as the source. A topic of others may have fewer.
        """
        if end not in self._topics.ends:
            return partition
        topic = self._topics.ends[end]
        while topic not in self._partitions:
            await self._ask(topic)
        return partition % self._partitions[topic]

    async def _ask(self, topic: str) -> None:
        """Ask for the partitions of a topic; wait a moment if there is no answer."""
        reason: object = "it does not exist"
        try:
            self._partitions |= {name: count for name, count in (await self._count([topic])).items() if count}
        except ClusterError as error:
            reason = error
        if topic not in self._partitions:
            log.warning("records wait that are delivered to %s, whose partitions are not known: %s", topic, reason)
            await asyncio.sleep(RETRY_SECONDS)
