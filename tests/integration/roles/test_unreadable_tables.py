"""Entries of changelogs that no worker wrote are left out and named; the line goes on, and so do the commands."""

from __future__ import annotations

import asyncio
import time

import orjson
import pytest

from metroline.agents.kafka.topic_admin import TopicAdmin, TopicPlan
from metroline.agents.tables.publication import Publication
from metroline.app.operations.permission import Permission
from metroline.app.operations.rules_topic import publish
from metroline.routing.outcome import Ending
from tests.support.depot import RULES, Depot, numbered
from tests.support.health import health


@pytest.mark.parametrize("broker", ["embedded"], indirect=True)  # nothing in it depends on the broker
@pytest.mark.long
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
        assert f"{topic}[0] holds a message at offset " in said
    assert "Traceback" not in said


@pytest.mark.long
@pytest.mark.parametrize("broker", ["embedded"], indirect=True)  # nothing in it depends on the broker
async def test_a_version_that_only_the_changelog_has_or_has_otherwise_is_none(depot: Depot) -> None:
    worker = depot.start()
    await depot.ready()
    changelog = depot.topics.changelog("rules")
    forged = {b"1": "[[rules", b"9": RULES, b"999999999999": RULES}
    async with depot.cluster.producer() as producer:
        for key, text in forged.items():
            value = orjson.dumps(Publication(text, 1, "a stranger", 0.0).as_json())
            await producer.send_and_wait(changelog, value, key=key, partition=0)
    await depot.stop(worker)

    depot.start()
    await depot.until(lambda: depot.all_have(1, 1))
    version = await publish(
        depot.cluster, depot.topics, Publication(RULES, 1, "a test", time.time()), Permission.of_command()
    )
    assert version == 2
    await depot.until(lambda: depot.all_have(2, 1))


@pytest.mark.parametrize("broker", ["embedded"], indirect=True)
@pytest.mark.parametrize(
    ("unreadable", "latest", "reason", "logged"),
    [
        (
            b"\xff garbage",
            0,
            "there is no valid rules table yet",
            ".rules[0] holds a message at offset 0 that is not ",
        ),
        (
            orjson.dumps(Publication("[[rules", 0, "a test", 0.0).as_json()),
            1,
            "there is no valid rules table: version 1 is not used: ",
            "version 1 of the rules table is not used",
        ),
    ],
    ids=["garbage", "invalid"],
)
async def test_a_worker_whose_rules_table_cannot_be_read_waits_for_one_that_can(
    depot: Depot, unreadable: bytes, latest: int, reason: str, logged: str
) -> None:
    await TopicAdmin(depot.cluster).create([TopicPlan(depot.topics.rules, 1)])
    await depot.push([unreadable], depot.topics.rules)
    worker = depot.start()
    await depot.push(numbered(range(0, 20, 2)))

    async def lacks_rules_alone() -> bool:
        ready = await asyncio.to_thread(health, worker, "/health/ready")
        return ready is not None and ready.failing == {"rules"} and ready.conditions["rules"].startswith(reason)

    await depot.until(lacks_rules_alone)
    live = await asyncio.to_thread(health, worker, "/health/live")
    assert live is not None
    assert live.failing == set(), "a restart would not help"
    await depot.until(lambda: logged in worker.child.log.read_text())
    assert await depot.counts() == {}

    await publish(
        depot.cluster, depot.topics, Publication(RULES, latest, "a test", time.time()), Permission.of_command()
    )
    await depot.settled(10)
    ready = await asyncio.to_thread(health, worker, "/health/ready")
    assert ready is not None
    assert ready.failing == set()
