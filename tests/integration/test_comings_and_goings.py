"""Workers come and go while they write tables: every record counts once, and the tables are whole at the end."""

from __future__ import annotations

import asyncio
from collections import Counter

import pytest
from aiokafka import TopicPartition

from agents.cluster import TopicPlan
from routing.outcome import Ending
from tests.integration.depot import Depot, check_ways, expected, numbered

ROUND = 400


@pytest.mark.parametrize("strategy", ["conductor", "signpost"])
async def test_three_workers_come_and_go_while_they_write_tables(depot: Depot, strategy: str) -> None:
    await depot.create_source()
    pushed = 0

    async def push() -> None:
        nonlocal pushed
        await depot.push(numbered(range(pushed, pushed + ROUND)))
        pushed += ROUND

    async def pushing(changed: asyncio.Task[None]) -> None:
        """Records keep coming in while something changes."""
        while not changed.done():
            await push()
            await asyncio.sleep(0.2)
        await changed

    first = depot.start(strategy)
    await depot.ready()
    second, third = depot.start(strategy), depot.start(strategy)
    await pushing(asyncio.create_task(depot.ready(second, third)))
    await pushing(asyncio.create_task(depot.kill(first)))
    again = depot.start(strategy)
    await pushing(asyncio.create_task(depot.ready(again)))
    assert await depot.stop(second) == 0
    await push()
    await depot.settled(pushed, timeout=90)

    ways = Counter(expected(number)[1] for number in range(pushed))
    assert await depot.counts() == dict(ways)
    check_ways((await depot.journeys()).values(), range(pushed))

    for worker in (third, again):  # the last ones go too: what is left is on the bus alone
        await depot.kill(worker)
    last = depot.start(strategy)
    await depot.ready()
    await push()
    await depot.settled(pushed, timeout=60)
    page = last.get("/table/outcomes/")
    assert page["totals"] == {ending.value: ways_of(pushed)[ending] for ending in Ending}
    assert page["missing"] == page["missing_partitions"] == []


def ways_of(count: int) -> Counter[Ending]:
    return Counter(expected(number)[1] for number in range(count))


async def test_a_fetch_tells_the_true_end_of_a_partition_where_the_broker_itself_does_not(depot: Depot) -> None:
    """Faust's recovery asks for the end of a changelog: told too low, the last updates of a table are lost."""
    topic = f"{depot.prefix}.batch"
    await depot.cluster.create([TopicPlan(topic, 1)])
    partition = TopicPartition(topic, 0)
    async with depot.cluster.producing(linger_ms=200) as producer:
        sent = [await producer.send(topic, b"x", partition=0) for _ in range(10)]
        await asyncio.gather(*sent)
    async with depot.cluster.consuming() as consumer:
        told = (await consumer.end_offsets([partition]))[partition]

    assert told == (1 if depot.broker.name == "embedded" else 10)
    assert await depot.cluster.high_watermarks([partition]) == {partition: 10}
