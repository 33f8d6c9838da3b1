"""Finds partitions that stand still: those with messages to read that this worker does not read."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Protocol

from aiokafka import TopicPartition
from aiokafka.errors import KafkaError
from mode import Service
from msgspec import Struct

from metroline.agents.kafka.cluster import Cluster, ClusterError
from metroline.agents.kafka.positions import names_of
from metroline.agents.kafka.regularly import regularly
from metroline.agents.kafka.topic_admin import TopicAdmin

STALL_SECONDS = 60.0
"""Time for which a partition may have messages to read before it counts as standing still."""

CHECK_SECONDS = 15.0
"""Time between two checks. Only partitions that did not move in between cost a request."""

PROOF_SECONDS = 3.0
"""Time within which another consumer must get a message of a partition, to prove that there is one."""

Positions = Mapping[TopicPartition, int]
"""The offset of the message that is read next, by partition; negative for the beginning of the partition."""


class Reader(Protocol):
    """Reads partitions, as an agent's consumer does."""

    async def next_to_read(self) -> Positions:
        """Return the partitions that nothing keeps from being read; raise `ClusterError`.

        A partition whose messages are being handled is left out, and so is one that is held back on purpose.
        """

    async def read_again(self, offsets: Positions) -> None:
        """Go to these offsets, if they are still those to be read next: the client may have lost its place."""


class _Waiting(Struct, frozen=True):
    """A partition that has something to read, or seems to."""

    offset: int
    """Offset of the message that is read next."""
    end: int
    """Offset after the last message when this was first seen."""
    since: float
    """Time at which it was first seen, in seconds of `time.monotonic`."""


class StallWatch(Service):
    """Compares, from time to time, what is read with what there is to read.

    An end beyond the next offset does not prove that there is a message: it may belong to a transaction that was
    aborted. So another consumer has to get a message before a partition counts as standing still. Its reader then goes
    to the offset once more.
    """

    def __init__(
        self,
        cluster: Cluster,
        readers: Callable[[], Iterable[Reader]],
        is_excused: Callable[[], bool],
        clock: Callable[[], float] = time.monotonic,
        **kwargs: Any,
    ) -> None:
        """`is_excused` returns whether nothing need be read now, as while the group is rebalanced."""
        super().__init__(**kwargs)
        self._cluster = cluster
        self._readers = readers
        self._is_excused = is_excused
        self._clock = clock
        self._before: Positions = {}
        self._waiting: dict[TopicPartition, _Waiting] = {}
        self._stalled: frozenset[TopicPartition] = frozenset()

    @property
    def stalled(self) -> list[str]:
        """The partitions that stand still, as `topic[partition]`, sorted."""
        return names_of(self._stalled)

    @Service.task
    async def _check_regularly(self) -> None:
        async for _ in regularly(self, CHECK_SECONDS):
            await self.check()

    async def check(self) -> None:
        """Look at all partitions once. A cluster that does not answer is no fault of this worker."""
        try:
            await self._check()
        except (ClusterError, KafkaError, TimeoutError) as error:
            self.log.info("no check for partitions that stand still: %s", error)
            self._forget()
        except Exception:  # whatever it is, a check that fails must not end the worker
            self.log.exception("the check for partitions that stand still failed")
            self._forget()

    async def _check(self) -> None:
        if self._is_excused():
            self._forget()
            return
        by_reader = [(reader, await reader.next_to_read()) for reader in self._readers()]
        positions = {tp: offset for _, found in by_reader for tp, offset in found.items()}
        resting = {tp: offset for tp, offset in positions.items() if self._before.get(tp) == offset}
        self._before = positions
        ends = await TopicAdmin(self._cluster).high_watermarks(resting)
        now = self._clock()
        self._waiting = {
            tp: self._still_waiting(tp, offset) or _Waiting(offset, ends[tp], now)
            for tp, offset in resting.items()
            if ends[tp] > max(0, offset)
        }
        overdue = {tp: one for tp, one in self._waiting.items() if now - one.since >= STALL_SECONDS}
        self._note(await self._readable(overdue))
        for reader, found in by_reader:
            if again := {tp: offset for tp, offset in found.items() if tp in self._stalled}:
                await reader.read_again(again)
        for tp in overdue.keys() - self._stalled:
            del self._waiting[tp]  # nothing but the ends of transactions: what comes later has its own time

    def _still_waiting(self, tp: TopicPartition, offset: int) -> _Waiting | None:
        known = self._waiting.get(tp)
        return known if known is not None and known.offset == offset else None

    async def _readable(self, waiting: Mapping[TopicPartition, _Waiting]) -> frozenset[TopicPartition]:
        """Return the partitions of which another consumer gets a message that was there when this was first seen."""
        if not waiting:
            return frozenset()
        async with self._cluster.consumer(isolation_level="read_committed", fetch_max_wait_ms=100) as consumer:
            consumer.assign(list(waiting))
            for tp, one in waiting.items():
                if one.offset < 0:
                    await consumer.seek_to_beginning(tp)
                else:
                    consumer.seek(tp, one.offset)
            found: set[TopicPartition] = set()
            deadline = time.monotonic() + PROOF_SECONDS
            while len(found) < len(waiting) and time.monotonic() < deadline:
                for tp, messages in (await consumer.getmany(timeout_ms=200)).items():
                    if messages[0].offset < waiting[tp].end:
                        found.add(tp)
            return frozenset(found)

    def _note(self, stalled: frozenset[TopicPartition]) -> None:
        if stalled - self._stalled:
            self.log.error("there are messages that this worker does not read: %s", ", ".join(names_of(stalled)))
        if self._stalled - stalled:
            self.log.info("what stood still is read again: %s", ", ".join(names_of(self._stalled - stalled)))
        self._stalled = stalled

    def _forget(self) -> None:
        self._before, self._waiting, self._stalled = {}, {}, frozenset()
