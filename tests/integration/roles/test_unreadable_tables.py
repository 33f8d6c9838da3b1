"""Entries of changelogs that no worker wrote are left out and named; the line goes on, and so do the commands."""

from __future__ import annotations

import asyncio

import pytest

from metroline.routing.outcome import Ending
from tests.support.depot import Depot, numbered
from tests.support.health import health


@pytest.mark.parametrize("broker", ["embedded"], indirect=True)  # nothing in it depends on the broker
async def test_garbage_in_changelogs_is_named_and_keeps_no_worker_from_getting_ready(depot: Depot) -> None:
    worker = depot.start()
    await depot.push(numbered(range(0, 20, 2)))
    await depot.settled(10)
    await depot.stop(worker)
    changelogs = list(map(depot.topics.changelog, ("outcomes", "journeys", "rules")))
    async with depot.cluster.producer() as producer:
        for topic in changelogs:
            await producer.send_and_wait(topic, b"\xff garbage", key=b"0/source/0", partition=0)

    worker = depot.start()
    await depot.push(numbered(range(20, 40, 2)))
    await depot.settled(20)

    assert await depot.counts() == {Ending.DELIVERED: 20}
    ready = await asyncio.to_thread(health, worker, "/health/ready")
    assert ready is not None
    assert ready.failing == set()
    said = worker.child.log.read_text()
    for topic in changelogs:
        assert f"{topic}[0] holds an entry at offset " in said
    assert "Traceback" not in said
