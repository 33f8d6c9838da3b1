"""A line whose records come from a queue of SQS: each counts once, and none is lost, whatever ends when."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import orjson
import pytest

from metroline.agents.kafka.topic_reader import read_topic
from metroline.routing.outcome import Ending
from tests.support.depot import Depot
from tests.support.elasticmq import ElasticMq

pytestmark = pytest.mark.long


def bodies(first: int, last: int) -> list[str]:
    """Return messages with a record each."""
    return [orjson.dumps({"n": number}).decode() for number in range(first, last)]


async def test_messages_are_deleted_once_their_records_are_on_the_bus(sqs: ElasticMq, queue: str, depot: Depot) -> None:
    sqs.send(queue, bodies(0, 40))
    packed = "\n".join(bodies(40, 60))
    sqs.send(queue, [packed])
    worker = depot.start()

    await depot.settled(60)
    await depot.until(lambda: sqs.waiting(queue) == (0, 0))

    numbers = sorted([record["n"] async for record in _records(depot)])
    assert numbers == list(range(60))
    said = await asyncio.to_thread(worker.get, "/traffic/")
    assert isinstance(said, dict)
    told = said["queue"]
    assert (told["messages"], told["repeated"], told["in_hand"]) == (41, 0, 0)
    assert told["calls"]["delete_message_batch"] >= 5
    assert await depot.stop(worker) == 0


async def test_a_worker_that_is_killed_loses_nothing_and_each_message_counts_once(
    sqs: ElasticMq, queue: str, depot: Depot
) -> None:
    count = 3_000
    worker = depot.start()
    await depot.ready(worker)
    sending = asyncio.create_task(asyncio.to_thread(sqs.send, queue, bodies(0, count)))
    for more in (200, 700, 1_200):
        await depot.until(lambda more=more: depot.more_than(more))  # type: ignore[misc]
        await depot.kill(worker)
        worker = depot.start()
    await sending

    await depot.settled(count)
    await depot.until(lambda: sqs.waiting(queue) == (0, 0))

    endings = await depot.counts()
    assert sum(endings.values()) == count
    numbers = [orjson.loads(message.value)["n"] async for message in read_topic(depot.cluster, depot.topics.source)]
    assert sorted(numbers) == list(range(count))  # none twice on the source topic, either


async def test_a_queue_that_does_not_answer_is_waited_for(sqs: ElasticMq, queue: str, depot: Depot) -> None:
    sqs.freeze()
    try:
        worker = depot.start()
        await depot.ready(worker)
    finally:
        sqs.thaw()
    sqs.send(queue, bodies(0, 10))

    await depot.settled(10)

    assert (await depot.counts())[Ending.DELIVERED] > 0


async def test_a_queue_that_does_not_exist_is_named_in_one_line(sqs: ElasticMq, queue: str, depot: Depot) -> None:
    text = (depot.folder / "line.toml").read_text()
    (depot.folder / "line.toml").write_text(text.replace(queue, "nowhere"))

    said = await depot.refused()

    assert said.endswith("the queue nowhere does not exist: create it, or correct its name in line.toml")


async def _records(depot: Depot) -> AsyncIterator[dict[str, Any]]:
    async for message in read_topic(depot.cluster, depot.topics.source):
        for line in message.value.splitlines():
            yield orjson.loads(line)
