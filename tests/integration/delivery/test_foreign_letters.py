"""Dead letters of other systems go back to their topics byte for byte, once, without the headers of the error."""

from __future__ import annotations

import asyncio
import json
import subprocess
import urllib.error
import urllib.request
from typing import Any

import pytest

from metroline.agents.kafka.topic_admin import TopicAdmin, TopicPlan
from metroline.agents.kafka.topic_reader import read_topic
from metroline.app.local.worker_process import WorkerProcess
from tests.support.brokers import KAFKA_FIRST
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


@KAFKA_FIRST
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


TOKEN, JSON = "open sesame", "application/json"


def asked(worker: WorkerProcess, path: str, body: Any = None, accept: str = JSON) -> tuple[int, str]:
    """Return the status and the text of the answer to a request of a program."""
    headers = {"Authorization": f"Bearer {TOKEN}", "Accept": accept, "Metroline-User": "ada", "Content-Type": JSON}
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(f"{worker.url}/dead-letters/{path}", data, headers)
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


async def told(worker: WorkerProcess, path: str, body: Any = None) -> Any:
    status, text = await asyncio.to_thread(asked, worker, path, body)
    assert status == 200, text
    return json.loads(text)


@pytest.fixture
async def reader(depot: Depot) -> WorkerProcess:
    """Return a worker of a line that reads the dead letters of another system: 30 of a cause, and a forged one."""
    orders, letters = f"{depot.prefix}-orders", f"{depot.prefix}-dlq"
    (depot.folder / "line.toml").write_text(f'[dead_letters]\ntopics = ["{letters}"]\n')
    await depot.create_source()
    worker = depot.start("signpost", METROLINE_TOKEN=TOKEN)
    await depot.ready(worker)
    await TopicAdmin(depot.cluster).create([TopicPlan(orders, 2), TopicPlan(letters, 2)])
    async with depot.cluster.producer() as producer:
        for number in range(30):
            headers = [*spring(orders, "no price"), *OWN]
            await producer.send_and_wait(letters, BINARY, key=b"%d" % number, headers=headers, partition=number % 2)
        await producer.send_and_wait(letters, b"forged", headers=connect("__consumer_offsets"), partition=0)
    return worker


@pytest.mark.parametrize("broker", ["embedded"], indirect=True)  # nothing in it depends on the broker
async def test_a_page_shows_them_and_a_job_replays_them(depot: Depot, reader: WorkerProcess) -> None:
    orders, letters = f"{depot.prefix}-orders", f"{depot.prefix}-dlq"
    [topic] = await told(reader, "foreign/")
    assert (topic["topic"], topic["letters"], topic["groups"]) == (letters, 31, 2)
    priced, forged = await told(reader, f"foreign/?topic={letters}")
    status, page = await asyncio.to_thread(asked, reader, f"foreign/?topic={letters}", None, "text/html")
    assert (status, priced["group"] in page, "com.shop.NoPrice" in page) == (200, True, True)
    status, error = await asyncio.to_thread(asked, reader, f"foreign/?topic={depot.topics.dead_letters}")
    assert (status, "is not among the topics of [dead_letters]" in error) == (404, True)
    status, error = await asyncio.to_thread(asked, reader, "jobs/start/", {"topic": letters, "group": forged["group"]})
    assert (status, "one of Kafka's own" in error) == (409, True), error

    dry = await told(reader, "jobs/start/", {"topic": letters, "group": priced["group"], "dry_run": True})
    assert set(dry["would_go"].values()) == {orders}
    status, page = await asyncio.to_thread(asked, reader, f"foreign/?topic={letters}&id=0-0", None, "text/html")
    assert (status, "kafka_dlt-original-partition" in page, "Nothing so far." in page) == (200, True, True)

    begun = await told(
        reader, "jobs/start/", {"topic": letters, "group": priced["group"], "patience": 1, "reason": "mended"}
    )
    assert (begun["topic"], begun["act"]) == (letters, "replay")

    async def is_done() -> bool:
        return bool((await told(reader, f"jobs/?job={begun['job']}"))["state"] == "done")

    await depot.until(is_done)
    job = await told(reader, f"jobs/?job={begun['job']}")
    assert (job["total"], job["replayed"], job["ended"], job["dead_again"]) == (30, 30, 30, 0)
    written = [message async for message in read_topic(depot.cluster, orders)]
    assert sorted(int(one.key or b"") for one in written) == list(range(30)), "each is written once"
    assert all((one.value, list(one.headers)) == (BINARY, OWN) for one in written)
    [left] = await told(reader, f"foreign/?topic={letters}")
    assert left["group"] == forged["group"]
    status, page = await asyncio.to_thread(asked, reader, f"foreign/?topic={letters}&id=0-0", None, "text/html")
    assert (status, "replayed by ada over HTTP" in page, begun["job"] in page) == (200, True, True)
    discarded = await told(reader, "discard/", {"topic": letters, "group": forged["group"], "reason": "forged"})
    assert (discarded, await told(reader, f"foreign/?topic={letters}")) == ({"discarded": 1}, [])


@pytest.mark.parametrize("broker", ["embedded"], indirect=True)  # nothing in it depends on the broker
async def test_a_job_stops_when_they_come_back(depot: Depot, reader: WorkerProcess) -> None:
    orders, letters = f"{depot.prefix}-orders", f"{depot.prefix}-dlq"
    group = (await told(reader, f"foreign/?topic={letters}"))[0]["group"]
    begun = await told(reader, "jobs/start/", {"topic": letters, "group": group, "ramp": [1, 100], "patience": 600})

    async def has_sent() -> bool:
        return bool((await told(reader, f"jobs/?job={begun['job']}"))["under_way"] == 1)

    await depot.until(has_sent)
    [sent] = [message async for message in read_topic(depot.cluster, orders)]
    headers = [
        ("kafka_dlt-original-topic", orders.encode()),
        ("kafka_dlt-original-partition", sent.partition.to_bytes(4, "big")),
        ("kafka_dlt-original-offset", sent.offset.to_bytes(8, "big")),
        ("kafka_dlt-exception-fqcn", b"com.shop.NoPrice"),
    ]
    async with depot.cluster.producer() as producer:
        await producer.send_and_wait(letters, sent.value, key=sent.key, headers=headers, partition=0)

    async def has_stopped() -> bool:
        return bool((await told(reader, f"jobs/?job={begun['job']}"))["state"] == "stopped")

    await depot.until(has_stopped)
    job = await told(reader, f"jobs/?job={begun['job']}")
    assert (job["replayed"], job["dead_again"], job["under_way"]) == (1, 1, 0)
    assert job["note"] == "1 of 1 replayed dead letters are dead again"
