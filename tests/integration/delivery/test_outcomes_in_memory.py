"""Outcomes that are settled in memory: counted once and delivered, whatever happens to the workers meanwhile."""

from __future__ import annotations

import asyncio
from collections import Counter

import pytest

from metroline.routing.outcome import Ending
from tests.support.depot import Depot, expected, numbered

CHUNK = 40
CHUNKS = 60
PAUSE_SECONDS = 0.1


@pytest.mark.long
async def test_nothing_is_lost_or_counted_twice_while_workers_come_stop_and_die(depot: Depot) -> None:
    workers = [depot.start(CHAINING="on") for _ in range(2)]
    await depot.ready()

    async def send() -> None:
        for number in range(CHUNKS):
            await depot.push(numbered(range(CHUNK * number, CHUNK * (number + 1))))
            await asyncio.sleep(PAUSE_SECONDS)

    sending = asyncio.create_task(send())
    await depot.until(lambda: depot.more_than(CHUNK * 4))
    depot.start(CHAINING="on")
    await depot.until(lambda: depot.more_than(CHUNK * 12))
    assert await depot.stop(workers[0]) == 0
    await depot.until(lambda: depot.more_than(CHUNK * 20))
    await depot.kill(workers[1])
    await sending

    count = CHUNK * CHUNKS
    await depot.settled(count, timeout=90)
    wanted = Counter(expected(number)[1] for number in range(count))
    assert Counter(await depot.counts()) == wanted
    delivered = {record["n"] for record in await depot.delivered()}
    assert delivered == {number for number in range(count) if expected(number)[1] is Ending.DELIVERED}


async def test_a_worker_writes_no_outcome_to_the_bus_that_it_can_settle_itself(depot: Depot) -> None:
    worker = depot.start("conductor", CHAINING="on")
    await depot.ready()
    await depot.push(numbered(range(20)))
    await depot.settled(20)
    at_first = (await asyncio.to_thread(worker.get, "/traffic/"))["traffic"].get("arrivals", {"records": 0})["records"]

    for number in range(1, 6):
        await depot.push(numbered(range(20 * number, 20 * (number + 1))))
        await depot.settled(20 * (number + 1))

    told = await asyncio.to_thread(worker.get, "/traffic/")
    assert told["traffic"].get("arrivals", {"records": 0})["records"] == at_first
    assert told["chained"]["arrivals"]["records"] >= 100
    assert sorted(record["n"] for record in await depot.delivered()) == [
        number for number in range(120) if expected(number)[1] is Ending.DELIVERED
    ]
    assert {visit for journey in (await depot.journeys()).values() for visit in journey.way[0]} <= {
        "weigh",
        "crane",
        "shelf",
    }
