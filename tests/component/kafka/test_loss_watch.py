"""A gap is a loss as far as the brokers do not hold it any more. Nothing is committed beyond it before."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, cast

import pytest
from aiokafka import TopicPartition
from confluent_kafka import Message

from metroline.agents.kafka.cluster import Cluster, ClusterError
from metroline.agents.kafka.gaps import Gaps, gaps_in
from metroline.agents.kafka.loss_watch import LossWatch

PARTITION = TopicPartition("orders.source", 2)


@dataclass(frozen=True, slots=True)
class FakeMessage:
    """A message that only has an offset."""

    at: int

    def offset(self) -> int:
        return self.at


@dataclass
class Watched:
    """A worker with one partition, and the losses that are reported of it."""

    begin: int = 0
    position: int = 0
    is_away: bool = False
    is_excused: bool = False
    gaps: Gaps = field(default_factory=Gaps)
    lost: list[tuple[int, int]] = field(default_factory=list)

    def watch(self) -> LossWatch:
        return LossWatch(cast(Cluster, self), self.gaps, lambda: [self], lambda: self.is_excused, self.report)

    async def report(self, partition: TopicPartition, first: int, end: int) -> None:
        assert partition == PARTITION
        self.lost.append((first, end))

    async def read_again(self, offsets: Mapping[TopicPartition, int]) -> None:
        """Do nothing: another watch asks for it."""

    async def next_to_read(self) -> dict[TopicPartition, int]:
        return {PARTITION: self.position}

    @asynccontextmanager
    async def consumer(self, **_: Any) -> AsyncIterator[Watched]:
        if self.is_away:
            raise ClusterError("no Kafka broker answers")
        yield self

    async def beginning_offsets(self, partitions: Sequence[TopicPartition]) -> dict[TopicPartition, int]:
        return dict.fromkeys(partitions, self.begin)


def messages(*offsets: int) -> list[Message]:
    return [cast(Message, FakeMessage(offset)) for offset in offsets]


@pytest.mark.parametrize(
    ("expected", "offsets", "gaps"),
    [
        (5, (5, 6, 7), []),
        (-2, (5, 6, 7), []),
        (5, (8, 9), [(5, 8)]),
        (5, (5, 7, 8, 11), [(6, 7), (9, 11)]),
        (5, (3, 4, 5), []),
        (-2, (3, 5), [(4, 5)]),
    ],
)
def test_gaps_are_before_and_between_messages(
    expected: int, offsets: tuple[int, ...], gaps: list[tuple[int, int]]
) -> None:
    assert list(gaps_in(expected, messages(*offsets))) == gaps


async def test_what_lies_before_the_beginning_of_the_partition_is_lost_and_the_rest_never_was() -> None:
    worker = Watched(begin=8)
    settled = worker.gaps.note(PARTITION, 5, 10)

    assert worker.gaps.is_open(PARTITION)
    await worker.watch().check(has_gaps=True)

    assert worker.lost == [(5, 8)]
    assert settled.done()
    assert not worker.gaps.is_open(PARTITION)


async def test_the_end_of_a_transaction_is_no_loss() -> None:
    worker = Watched(begin=3)
    settled = worker.gaps.note(PARTITION, 5, 6)

    await worker.watch().check(has_gaps=True)

    assert worker.lost == []
    assert settled.done()


async def test_a_gap_stays_open_until_the_brokers_answer() -> None:
    worker = Watched(begin=8, is_away=True)
    watch, settled = worker.watch(), worker.gaps.note(PARTITION, 5, 10)

    await watch.check(has_gaps=True)
    assert not settled.done()
    assert worker.gaps.found.is_set()

    worker.is_away = False
    await watch.check(has_gaps=True)
    assert worker.lost == [(5, 8)]
    assert settled.done()


async def test_a_partition_that_was_emptied_shows_by_the_offset_that_is_read_next() -> None:
    worker = Watched(begin=9, position=4)
    watch = worker.watch()

    await watch.check(has_gaps=False)
    assert worker.lost == []  # it may be moving
    await watch.check(has_gaps=False)
    await watch.check(has_gaps=False)

    assert worker.lost == [(4, 9)]

    worker.gaps.note(PARTITION, 4, 12)
    worker.begin = 11
    await watch.check(has_gaps=True)
    assert worker.lost == [(4, 9), (9, 11)]


async def test_nothing_is_looked_for_while_the_group_is_rebalanced() -> None:
    worker = Watched(begin=9, position=4, is_excused=True)
    watch = worker.watch()

    await watch.check(has_gaps=False)
    await watch.check(has_gaps=False)

    assert worker.lost == []


async def test_gaps_of_partitions_that_others_own_are_left_to_them() -> None:
    worker = Watched(begin=9)
    settled = worker.gaps.note(PARTITION, 4, 9)

    worker.gaps.forget([PARTITION])
    await worker.watch().check(has_gaps=True)

    assert worker.lost == []
    assert not settled.done()
