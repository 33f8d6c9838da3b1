"""A batch consumer commits what is confirmed, and only while it owns the partitions."""

from __future__ import annotations

import asyncio
import time
from typing import Any, cast

import pytest
from aiokafka import TopicPartition
from confluent_kafka import KafkaError

from metroline.agents.kafka import patience
from metroline.agents.kafka.batch_consumer import BatchConsumer, Handled
from metroline.agents.kafka.cluster import ClusterSilent
from metroline.agents.kafka.consumer import Fetched
from metroline.agents.kafka.group_consumer import GroupConsumer
from metroline.agents.kafka.group_owner import Notes, Offsets
from metroline.agents.kafka.producer import Confirmation, NotSent
from metroline.agents.kafka.progress import Progress

PARTITION = TopicPartition("test.source", 0)
OTHER = TopicPartition("test.source", 1)
THIRD = TopicPartition("test.source", 2)


class FakeConsumer:
    """A consumer that records what is to be committed."""

    def __init__(self) -> None:
        self.commits: list[Offsets] = []

    def commit(self, offsets: Offsets, notes: Notes) -> None:
        self.commits.append(offsets)


class Reader(BatchConsumer):
    """A consumer that owns two partitions."""

    client_name = "reader"

    def __init__(self) -> None:
        cluster: Any = None
        super().__init__(cluster, lambda: 0.0, settings={})
        self.fake = FakeConsumer()
        self.consumer = cast(GroupConsumer, self.fake)

    async def handle(self, fetched: Fetched) -> Handled:
        raise NotImplementedError


@pytest.fixture
async def reader() -> Reader:
    reader = Reader()
    await reader.assigned([PARTITION, OTHER])
    return reader


def confirmation() -> Confirmation:
    return asyncio.get_running_loop().create_future()


async def test_partitions_are_taken_over_once_the_brokers_answer(
    reader: Reader, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(patience, "RETRY_SECONDS", 0.0)
    silences = [ClusterSilent("no Kafka broker answers")] * 3

    async def begin(_: object) -> None:
        if silences:
            raise silences.pop()

    monkeypatch.setattr(reader, "begin", begin)
    await reader.assigned([THIRD])
    assert (silences, THIRD in reader.progress) == ([], True)


async def test_only_what_is_confirmed_is_committed_and_once(reader: Reader) -> None:
    first, second = confirmation(), confirmation()
    reader.progress[PARTITION].add(7, first)
    reader.progress[PARTITION].add(9, second)
    first.set_result(None)
    await asyncio.sleep(0)

    reader.commit_confirmed()
    reader.commit_confirmed()

    assert reader.fake.commits == [{PARTITION: 7}]


async def test_a_batch_that_was_not_confirmed_is_not_committed_past(reader: Reader) -> None:
    first, second = confirmation(), confirmation()
    reader.progress[PARTITION].add(7, first)
    reader.progress[PARTITION].add(9, second)
    first.set_exception(NotSent("no broker answers"))
    second.set_result(None)
    await asyncio.sleep(0)

    reader.commit_confirmed()

    assert reader.fake.commits == []


async def test_partitions_that_are_revoked_are_committed_when_their_batches_are_confirmed(reader: Reader) -> None:
    open_batch = confirmation()
    reader.progress[PARTITION].add(7, open_batch)
    revoked = asyncio.create_task(reader.revoked([PARTITION], time.monotonic() + 5))
    await asyncio.sleep(0.01)
    assert reader.fake.commits == []

    open_batch.set_result(None)
    await revoked

    assert reader.fake.commits == [{PARTITION: 7}]
    assert set(reader.progress) == {OTHER}


async def test_partitions_that_others_own_by_now_are_not_committed(reader: Reader) -> None:
    reader.progress[PARTITION] = Progress(done=7)

    await reader.revoked([PARTITION], time.monotonic() - 1)
    reader.commit_confirmed()

    assert reader.fake.commits == []


@pytest.mark.parametrize(
    ("code", "commits"),
    [(KafkaError._WAIT_COORD, 2), (KafkaError.ILLEGAL_GENERATION, 1), (KafkaError.UNKNOWN_MEMBER_ID, 1)],
)
async def test_a_commit_that_failed_is_repeated_unless_others_own_the_partition(
    reader: Reader, code: int, commits: int
) -> None:
    reader.progress[PARTITION] = Progress(done=7)
    reader.commit_confirmed()

    reader.committed({PARTITION: 7}, KafkaError(code))
    reader.commit_confirmed()

    assert reader.fake.commits == [{PARTITION: 7}] * commits


async def test_the_answer_to_a_commit_of_a_partition_that_went_away_is_not_missed(reader: Reader) -> None:
    reader.forget([PARTITION])

    reader.committed({PARTITION: 7}, KafkaError(KafkaError._WAIT_COORD))

    assert set(reader.progress) == {OTHER}
