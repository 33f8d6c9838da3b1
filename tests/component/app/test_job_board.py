"""The board of replay jobs reads its topic once for all who wait, and misses nothing written before a question."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator

import pytest

from metroline.agents.kafka.cluster import Cluster
from metroline.agents.kafka.topic_tail import TopicTail
from metroline.agents.kafka.topics import Topics
from metroline.app.operations.replay_jobs import JobBoard, new_job
from metroline.routing.journeys.replay_job_messages import encode
from tests.support.dead_letter_topic import TopicMessage


@pytest.fixture
async def board() -> AsyncIterator[JobBoard]:
    made = JobBoard(Cluster.at("kafka://127.0.0.1:1"), Topics("line", "line.source"))
    yield made
    await made.close()


async def test_those_who_wait_share_a_reading_that_began_after_they_asked(
    board: JobBoard, monkeypatch: pytest.MonkeyPatch
) -> None:
    log: list[TopicMessage] = []
    gate, readings = threading.Event(), list[int]()

    def read(_: TopicTail) -> Iterator[list[TopicMessage]]:
        readings.append(len(log))
        gate.wait(10)
        yield log[: readings[-1]]

    monkeypatch.setattr(TopicTail, "read", read)
    first = asyncio.create_task(board.jobs())
    while not readings:
        await asyncio.sleep(0.01)
    job = new_job("anna", group="4be3b2")
    log.append(TopicMessage((0, 0), *encode(job)))
    waiting = [asyncio.create_task(board.jobs()) for _ in range(20)]
    await asyncio.sleep(0)
    gate.set()
    await first
    for jobs in await asyncio.gather(*waiting):
        assert list(jobs.by_id) == [job.job], "the reading that was under way may have missed it"
    assert readings == [0, 1]
