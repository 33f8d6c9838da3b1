"""Compares the records that entered the line with those that have an outcome: sent = ended + under way."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Mapping
from typing import Any

from aiokafka import TopicPartition
from aiokafka.errors import KafkaError
from mode import Service

from metroline.agents.delivery.entry_counts import EntryCount
from metroline.agents.kafka.cluster import Cluster
from metroline.agents.kafka.regularly import regularly
from metroline.agents.kafka.tansu import is_embedded
from metroline.agents.kafka.topic_admin import TopicAdmin
from metroline.agents.kafka.topics import ROUTERS, Topics
from metroline.agents.membership.roles import group_prefix
from metroline.agents.on_ramp import source_origin
from metroline.agents.services.schedule import PARTITION, Clock, schedule_of
from metroline.agents.tables.line_table import LineTable
from metroline.agents.tables.outcome_counts import OutcomeCounts
from metroline.routing.addresses import ARRIVALS, WAITING_ROOMS, service_address
from metroline.routing.errors import MetrolineError
from metroline.routing.journeys.settlement import BLOCK_OFFSETS

COMPARE_SECONDS = 30.0
"""Time between two comparisons."""

Offsets = Mapping[TopicPartition, int]


class Accounts(Service):
    """Finds records that entered, have no outcome, and are nowhere under way.

    Records that have no outcome may be under way: in work, or on a topic of the line. Nobody can count the records on a
    topic without reading it. So a partition is judged while it rests: nothing is written to its inner topics, and
    everything there is acknowledged. Records of a busy partition that are missing are still missing when it rests.
    """

    def __init__(
        self,
        cluster: Cluster,
        topics: Topics,
        stops: Collection[str],
        outcomes: LineTable,
        owned: Callable[[], frozenset[int]],
        epoch: int,
        clocks: Callable[[], Collection[Clock]] = tuple,
        **kwargs: Any,
    ) -> None:
        """`owned` returns the partitions whose outcomes this worker counts; `epoch` is that of the source.

        `clocks` returns the schedules if this worker follows them.
        """
        super().__init__(**kwargs)
        self._cluster = cluster
        self._topics = topics
        self._inner = [
            topics.at(one) for one in (*ROUTERS, *map(service_address, sorted(stops)), ARRIVALS, *WAITING_ROOMS)
        ]
        self._counts = OutcomeCounts(outcomes)
        self._owned = owned
        self._origin = source_origin(epoch)
        self._on_ramp_group = topics.on_ramp_group(epoch)
        self._clocks = clocks
        self._missing: dict[int, int] = {}
        """The number of records that were missing when a partition rested last."""

    @property
    def unaccounted(self) -> int:
        """The number of records that are missing in the partitions of this worker."""
        owned = self._owned()
        return sum(count for partition, count in self._missing.items() if partition in owned)

    @Service.task
    async def _compare_regularly(self) -> None:
        async for _ in regularly(self, COMPARE_SECONDS):
            try:
                if await is_embedded(self._cluster):
                    return  # it keeps no notes beside committed offsets
                await self.compare()
            except (MetrolineError, KafkaError, OSError) as error:
                self.log.debug("the records are compared later: %s", error)
            except Exception:  # whatever it is, a comparison that fails must not end the worker
                self.log.exception("the records that entered were not compared with those that have an outcome")

    async def compare(self) -> None:
        """Compare all partitions of this worker once; raise `ClusterError` or `KafkaError`."""
        sent = await self._entered()
        if PARTITION in self._owned() and self._clocks():
            sent.setdefault(PARTITION, EntryCount(0, 0))  # nothing may have come from the source yet
        open_ = {partition for partition, count in self._open(sent).items() if count > 0}
        resting = await self._resting(open_) if open_ else set()
        missing = {partition: count for partition, count in self._open(sent).items() if partition in resting}
        for partition in sent:
            if partition not in open_ or partition in resting:
                self._note(partition, missing.get(partition, 0))

    def _note(self, partition: int, count: int) -> None:
        before = self._missing.get(partition, 0)
        self._missing[partition] = count
        if count > before:
            self.log.error(
                "%d records of partition %d of %s, or of schedules, entered the line, have no outcome and are not "
                "under way",
                count,
                partition,
                self._topics.source,
            )

    def _open(self, sent: Mapping[int, EntryCount]) -> dict[int, int]:
        """Return how many records that entered have no outcome, by partition."""
        ended: Counter[int] = Counter()
        of_schedules: Counter[str] = Counter()
        for block in self._counts.blocks(sent):
            count = sum(block.by_ending.values())
            if block.origin == self._origin and block.number * BLOCK_OFFSETS >= sent[block.partition].since:
                ended[block.partition] += count
            elif (schedule := schedule_of(block.origin)) is not None:
                of_schedules[schedule] += count
        found = {partition: max(0, count.records - ended[partition]) for partition, count in sent.items()}
        if PARTITION in found:
            found[PARTITION] += sum(max(0, one.entered - of_schedules[one.name]) for one in self._clocks())
        return found

    async def _entered(self) -> dict[int, EntryCount]:
        """Return the count of each partition of this worker, as of the offset that the on-ramp has committed."""
        async with self._cluster.admin() as admin:
            committed = await admin.list_consumer_group_offsets(self._on_ramp_group)
        owned = self._owned()
        counts = {
            tp.partition: EntryCount.of_note(at.metadata)
            for tp, at in committed.items()
            if tp.topic == self._topics.source and tp.partition in owned
        }
        return {partition: count for partition, count in counts.items() if count is not None}

    async def _resting(self, partitions: Collection[int]) -> set[int]:
        """Return the partitions of which nothing is under way.

        If nothing was written between two looks at the ends of the topics, and everything before them was acknowledged
        in between, or deleted, then nothing was on the bus or in work at that moment.
        """
        wanted = [TopicPartition(topic, partition) for topic in self._inner for partition in partitions]
        admin = TopicAdmin(self._cluster)
        before = await admin.high_watermarks(wanted)
        done = await self._acknowledged()
        async with self._cluster.consumer() as consumer:
            begins = await consumer.beginning_offsets(wanted)
        after = await admin.high_watermarks(wanted)
        moving = {
            tp.partition for tp in wanted if before[tp] != after[tp] or max(done.get(tp, 0), begins[tp]) < after[tp]
        }
        return set(partitions) - moving

    async def _acknowledged(self) -> Offsets:
        """Return the highest offset that any group of the line has committed, by partition."""
        highest: dict[TopicPartition, int] = {}
        async with self._cluster.admin() as admin:
            prefix = group_prefix(self._topics.prefix)
            groups = [group for group, *_ in await admin.list_consumer_groups() if group.startswith(prefix)]
            for group in (*groups, self._topics.waiting_group):
                for tp, at in (await admin.list_consumer_group_offsets(group)).items():
                    highest[tp] = max(at.offset, highest.get(tp, 0))
        return highest
