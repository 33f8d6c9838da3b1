"""Watches the number of partitions of the source topic, and gives the topics of a running line as many."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Mapping
from typing import Any

from aiokafka.errors import KafkaError
from mode import Service

from metroline.agents.kafka.cluster import Cluster
from metroline.agents.kafka.regularly import regularly
from metroline.agents.kafka.topic_admin import TopicAdmin
from metroline.routing.errors import MetrolineError

WATCH_SECONDS = 10.0
"""Time between two looks at the partitions."""


class PartitionWatch(Service):
    """Knows how many partitions every topic of the line has, and notices when they become more."""

    def __init__(
        self,
        cluster: Cluster,
        source: str,
        inner: Collection[str],
        *,
        grows: bool,
        on_grown: Callable[[int], Awaitable[None]],
        **kwargs: Any,
    ) -> None:
        """Take the source topic, and the topics that must have as many partitions.

        With `grows` the watch adds their partitions itself. `on_grown` is called with the number of partitions once
        all of them have more than before.
        """
        super().__init__(**kwargs)
        self._admin = TopicAdmin(cluster)
        self._source = source
        self._inner = tuple(inner)
        self._grows = grows
        self._on_grown = on_grown
        self._refused_at = 0
        """The number of partitions of the source for which it was logged that the topics do not have as many."""
        self.partitions = 0
        """The number of partitions that every topic of the line has."""

    def reaches(self, partition: int) -> bool:
        """Return whether every topic of the line has this partition, so that records may enter it."""
        return partition < self.partitions

    async def on_start(self) -> None:
        """Count the partitions; raise `ClusterError`."""
        self.partitions = self._least(await self._count())

    @Service.task
    async def _watch(self) -> None:
        async for _ in regularly(self, WATCH_SECONDS):
            try:
                await self.look()
            except (MetrolineError, KafkaError, OSError) as error:
                self.log.debug("the partitions could not be counted, which is tried again: %s", error)

    async def look(self) -> None:
        """Count the partitions once; raise `ClusterError` or `KafkaError`."""
        counts = await self._count()
        wanted = counts.get(self._source, 0)
        if wanted > self._least(counts) and self._grows:
            counts = await self._grow(counts, wanted)
        found = self._least(counts)
        if found > self.partitions:
            self.log.info("the line's topics have %d partitions now, instead of %d", found, self.partitions)
            self.partitions = found
            await self._on_grown(found)

    async def _grow(self, counts: Mapping[str, int], wanted: int) -> dict[str, int]:
        """Add the partitions that are missing, if the user may; return the new counts."""
        too_few = {name: wanted for name in self._inner if counts.get(name, 0) < wanted}
        refused = await self._admin.add_partitions(too_few)
        if refused and self._refused_at != wanted:
            self._refused_at = wanted
            self.log.warning(
                "the source topic %s has %d partitions, and its new records wait in it until these topics of the line "
                "have as many, which the worker could not change (%s): %s",
                self._source,
                wanted,
                ", ".join(sorted(set(refused.values()))),
                ", ".join(sorted(refused)),
            )
        return await self._count()

    async def _count(self) -> dict[str, int]:
        return await self._admin.partitions([self._source, *self._inner])

    def _least(self, counts: Mapping[str, int]) -> int:
        return min(counts.get(name, 0) for name in self._inner)
