"""Finds messages that were deleted before they were read."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping
from contextlib import suppress
from typing import Any

from aiokafka import TopicPartition
from aiokafka.errors import KafkaError
from mode import Service

from metroline.agents.kafka.cluster import Cluster, ClusterError
from metroline.agents.kafka.gaps import Gaps
from metroline.agents.kafka.stall_watch import Positions, Reader

CHECK_SECONDS = 20.0
"""Time between two looks at the partitions of which nothing is read. Gaps are looked into at once."""

REST_SECONDS = 1.0
"""Time between two looks into gaps, at least: the end of each transaction in the source is one."""

Report = Callable[[TopicPartition, int, int], Awaitable[None]]
"""Records that the messages of a partition from an offset up to, but without, another one were deleted unread."""


class LossWatch(Service):
    """Compares the offsets that a worker has to read with those that the brokers still hold.

    A consumer that asks for a message that was deleted is silently sent on to the first one that is left. So each gap
    between the offsets that were read is compared with the beginning of the partition: what lies before it was
    deleted, and what lies behind it never was a message, but the end of a transaction, or an entry that was compacted.
    A partition that holds no message any more shows no gap, so the offset to read next is compared from time to time.
    """

    def __init__(
        self,
        cluster: Cluster,
        gaps: Gaps,
        readers: Callable[[], Iterable[Reader]],
        is_excused: Callable[[], bool],
        report: Report,
        **kwargs: Any,
    ) -> None:
        """`is_excused` returns whether nothing need be read now, as while the group is rebalanced."""
        super().__init__(**kwargs)
        self._cluster = cluster
        self._gaps = gaps
        self._readers = readers
        self._is_excused = is_excused
        self._report = report
        self._before: Positions = {}
        self._noted: dict[TopicPartition, int] = {}
        """The offset up to which losses of a partition are reported."""

    @Service.task
    async def _check_regularly(self) -> None:
        while not self.should_stop:
            with suppress(TimeoutError):
                async with asyncio.timeout(CHECK_SECONDS):
                    await self._gaps.found.wait()
            await self.check(has_gaps=self._gaps.found.is_set())
            await self.sleep(REST_SECONDS)

    async def check(self, *, has_gaps: bool) -> None:
        """Look into the open gaps, and without any at the positions. A cluster that does not answer is asked again."""
        try:
            await (self._check_gaps() if has_gaps else self._check_positions())
        except (ClusterError, KafkaError, TimeoutError) as error:
            self.log.info("no check for messages that were deleted unread: %s", error)
            self._gaps.found.set()
        except Exception:  # whatever it is, a check that fails must not end the worker
            self.log.exception("the check for messages that were deleted unread failed")

    async def _check_gaps(self) -> None:
        gaps = self._gaps.open()
        begins = await self._beginnings({gap.partition for gap in gaps})
        for gap in gaps:
            await self._note(gap.partition, gap.first, min(gap.end, begins[gap.partition]))
            self._gaps.settle(gap)

    async def _check_positions(self) -> None:
        if self._is_excused():
            self._before = {}
            return
        positions = {tp: offset for reader in self._readers() for tp, offset in (await reader.next_to_read()).items()}
        resting = {tp: offset for tp, offset in positions.items() if offset >= 0 and self._before.get(tp) == offset}
        self._before = positions
        for tp, begin in (await self._beginnings(resting)).items():
            await self._note(tp, resting[tp], begin)

    async def _beginnings(self, partitions: Collection[TopicPartition]) -> Mapping[TopicPartition, int]:
        """Return the offset of the first message that is left in each of these partitions."""
        if not partitions:
            return {}
        wanted = [TopicPartition(topic, number) for topic, number in partitions]
        async with self._cluster.consumer() as consumer:
            return dict(await consumer.beginning_offsets(wanted))

    async def _note(self, partition: TopicPartition, first: int, end: int) -> None:
        first = max(first, self._noted.get(partition, 0))
        if first < end:
            await self._report(partition, first, end)
            self._noted[partition] = end
