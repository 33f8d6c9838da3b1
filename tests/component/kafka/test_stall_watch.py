"""A partition stands still if it holds messages that another consumer gets and that this worker leaves unread."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
from aiokafka import TopicPartition

from metroline.agents.kafka import stall_watch
from metroline.agents.kafka.cluster import ClusterError
from metroline.agents.kafka.stall_watch import STALL_SECONDS, StallWatch

PARTITION = TopicPartition("orders.source", 2)


@dataclass(frozen=True, slots=True)
class FakeMessage:
    """A message that only has an offset."""

    offset: int


@dataclass
class FakeCluster:
    """A partition with an end and with messages, at these offsets, that any consumer gets."""

    end: int = 0
    offsets: list[int] = field(default_factory=list)
    is_away: bool = False
    position: int = 0

    async def high_watermarks(self, partitions: Mapping[TopicPartition, int]) -> dict[TopicPartition, int]:
        if self.is_away:
            raise ClusterError("no Kafka broker answers")
        return dict.fromkeys(partitions, self.end)

    @asynccontextmanager
    async def consumer(self, **_: Any) -> AsyncIterator[FakeCluster]:
        yield self

    def assign(self, partitions: list[TopicPartition]) -> None:
        assert partitions == [PARTITION]

    def seek(self, partition: TopicPartition, offset: int) -> None:
        self.position = offset

    async def seek_to_beginning(self, partition: TopicPartition) -> None:
        self.position = 0

    async def getmany(self, timeout_ms: int) -> dict[TopicPartition, list[FakeMessage]]:
        found = [FakeMessage(offset) for offset in self.offsets if offset >= self.position]
        return {PARTITION: found} if found else {}


@dataclass
class Watched:
    """A watch over one partition, and what it looks at."""

    cluster: FakeCluster
    watch: StallWatch
    next_offset: int | None = 5
    now: float = 1_000.0
    is_excused: bool = False
    again: list[dict[TopicPartition, int]] = field(default_factory=list)

    async def read_again(self, offsets: Mapping[TopicPartition, int]) -> None:
        self.again.append(dict(offsets))

    async def next_to_read(self) -> dict[TopicPartition, int]:
        return {} if self.next_offset is None else {PARTITION: self.next_offset}

    async def pass_by(self, seconds: float) -> list[str]:
        """Check twice, before and after some time, and return what stands still then."""
        await self.watch.check()
        await self.watch.check()
        self.now += seconds
        await self.watch.check()
        return self.watch.stalled


@pytest.fixture
def watched(monkeypatch: pytest.MonkeyPatch) -> Watched:
    cluster: Any = FakeCluster()
    monkeypatch.setattr(stall_watch, "TopicAdmin", lambda cluster: cluster)
    monkeypatch.setattr(stall_watch, "PROOF_SECONDS", 0.01)
    of_watch: list[Watched] = []
    watch = StallWatch(cluster, lambda: of_watch, lambda: of_watch[0].is_excused, lambda: of_watch[0].now)
    of_watch.append(Watched(cluster, watch))
    return of_watch[0]


async def test_messages_that_stay_unread_for_long_are_a_standstill(watched: Watched) -> None:
    watched.cluster.end, watched.cluster.offsets = 7, [5, 6]
    assert await watched.pass_by(STALL_SECONDS - 1) == []
    assert watched.again == []
    assert await watched.pass_by(2) == ["orders.source[2]"]
    assert watched.again == [{PARTITION: 5}], "its reader may have lost its place"
    watched.next_offset = 6
    await watched.watch.check()
    assert watched.watch.stalled == []
    assert len(watched.again) == 1


async def test_a_partition_that_was_never_read_may_stand_still_as_well(watched: Watched) -> None:
    watched.next_offset = -2
    watched.cluster.end, watched.cluster.offsets = 2, [0, 1]
    assert await watched.pass_by(STALL_SECONDS) == ["orders.source[2]"]


async def test_an_end_without_a_message_before_it_is_none(watched: Watched) -> None:
    watched.cluster.end = 6  # the offset 5 is the end of a transaction
    assert await watched.pass_by(STALL_SECONDS) == []
    watched.cluster.end, watched.cluster.offsets = 7, [6]  # and this message came just now
    await watched.watch.check()
    assert watched.watch.stalled == []
    assert await watched.pass_by(STALL_SECONDS) == ["orders.source[2]"]


async def test_a_partition_at_its_end_rests(watched: Watched) -> None:
    watched.cluster.end = 5
    assert await watched.pass_by(STALL_SECONDS) == []


async def test_a_partition_whose_messages_are_in_hand_is_left_alone(watched: Watched) -> None:
    watched.cluster.end, watched.cluster.offsets = 7, [5, 6]
    watched.next_offset = None
    assert await watched.pass_by(STALL_SECONDS) == []


@pytest.mark.parametrize("excuse", ["is_excused", "is_away"])
async def test_a_rebalance_or_a_broker_that_is_away_starts_the_time_anew(watched: Watched, excuse: str) -> None:
    watched.cluster.end, watched.cluster.offsets = 7, [5, 6]
    whom = watched if excuse == "is_excused" else watched.cluster
    await watched.pass_by(STALL_SECONDS)
    setattr(whom, excuse, True)
    await watched.watch.check()
    assert watched.watch.stalled == []
    setattr(whom, excuse, False)
    assert await watched.pass_by(STALL_SECONDS - 1) == []
