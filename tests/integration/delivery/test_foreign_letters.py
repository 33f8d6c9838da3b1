"""Dead letters of other systems go back to their topics byte for byte, once, without the headers of the error."""

from __future__ import annotations

import asyncio
import json
import subprocess
from typing import Any

import pytest

from metroline.agents.kafka.topic_admin import TopicAdmin, TopicPlan
from metroline.agents.kafka.topic_reader import read_topic
from tests.support.cli import metroline
from tests.support.depot import Depot

BINARY = bytes(range(256))
OWN = [("trace", b"\x00\xff"), ("trace", b"again")]


def spring(topic: str, message: str) -> list[tuple[str, bytes]]:
    return [
        ("kafka_dlt-original-topic", topic.encode()),
        ("kafka_dlt-original-partition", (2).to_bytes(4, "big")),
        ("kafka_dlt-exception-fqcn", b"com.shop.NoPrice"),
        ("kafka_dlt-exception-message", message.encode()),
    ]


def connect(topic: str) -> list[tuple[str, bytes]]:
    return [
        ("__connect.errors.topic", topic.encode()),
        ("__connect.errors.stage", b"VALUE_CONVERTER"),
        ("__connect.errors.exception.class.name", b"DataException"),
        ("__connect.errors.exception.message", b"it cannot be converted"),
    ]


async def command(depot: Depot, *words: str) -> subprocess.CompletedProcess[str]:
    letters = f"{depot.prefix}-dlq"
    return await asyncio.to_thread(
        metroline, "dead-letters", *words, "--from", letters, cwd=depot.folder, **depot.environment()
    )


async def answered(depot: Depot, *words: str) -> Any:
    done = await command(depot, *words, "--json", "-")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.fixture
async def orders(depot: Depot) -> str:
    """Return a topic of which five messages are dead letters on another one, of two causes, beside what is none."""
    await depot.create_source()
    await depot.ready(depot.start())
    orders, letters = f"{depot.prefix}-orders", f"{depot.prefix}-dlq"
    await TopicAdmin(depot.cluster).create([TopicPlan(orders, 4), TopicPlan(letters, 2)])
    async with depot.cluster.producer() as producer:
        for number in range(3):
            headers = [OWN[0], *spring(orders, f"no price for {number}"), OWN[1]]
            key = f"key {number}".encode()
            await producer.send_and_wait(letters, BINARY, key=key, headers=headers, partition=0, timestamp_ms=10**12)
        for number in range(2):
            value = f"text {number}".encode()
            await producer.send_and_wait(letters, value, headers=[*connect(orders), *OWN], partition=1)
        await producer.send_and_wait(letters, b"no dead letter", partition=1)
        inner = connect(depot.topics.at("arrivals"))
        await producer.send_and_wait(letters, b"forged", headers=inner, partition=0)
    return orders


async def test_they_are_grouped_shown_and_replayed_to_their_topic(depot: Depot, orders: str) -> None:
    groups = await answered(depot, "list")
    assert [(group["count"], group["system"]) for group in groups[:2]] == [(3, "Spring"), (2, "Kafka Connect")]
    assert [group["topic"] for group in groups] == [orders, orders, depot.topics.at("arrivals")]
    priced, converted, forged = groups
    assert "1 message" in (await command(depot, "list")).stderr
    shown = await command(depot, "show", priced["example"])
    assert "com.shop.NoPrice: no price for 0" in shown.stdout
    dry = await answered(depot, "replay", "--group", priced["group"], "--dry-run")
    assert list(dry["would_go"].values()) == [orders] * 3

    assert await answered(depot, "replay", "--group", priced["group"]) == {"replayed": 3}
    assert await answered(depot, "replay", "--group", converted["group"]) == {"replayed": 2}
    written = [message async for message in read_topic(depot.cluster, orders)]
    keyed = sorted([one for one in written if one.key is not None], key=lambda one: str(one.key))
    assert [(one.key, one.value) for one in keyed] == [(f"key {number}".encode(), BINARY) for number in range(3)]
    assert {one.timestamp for one in keyed} == {10**12}
    assert sorted(one.value for one in written if one.key is None) == [b"text 0", b"text 1"]
    assert all(list(one.headers) == OWN for one in written), "their own headers, and no others"

    assert [group["group"] for group in await answered(depot, "list")] == [forged["group"]]
    again = await command(depot, "replay", "--group", priced["group"])
    assert (again.returncode, "there is no group" in again.stderr) == (1, True)

    refused = await command(depot, "replay", "--group", forged["group"])
    assert (refused.returncode, "to which nothing is replayed" in refused.stderr) == (1, True)
    discarded = await answered(depot, "discard", forged["example"], "--reason", "forged")
    assert discarded == {"discarded": 1}
    assert await answered(depot, "list") == []
