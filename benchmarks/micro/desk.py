"""Measures a GET of the dead letters on the embedded broker: its time, and the CPU time of the event loop.

.venv/bin/python -m benchmarks.micro.desk 200000
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Iterator
from typing import cast

import orjson
from aiohttp import ClientSession
from aiohttp.test_utils import TestServer
from aiokafka import AIOKafkaProducer
from faust.web.drivers.aiohttp import Web

from metroline.agents.kafka.cluster import Cluster
from metroline.agents.kafka.topic_admin import TopicAdmin, TopicPlan
from metroline.agents.kafka.topics import Topics
from metroline.app.factory import create_app
from metroline.app.local.embedded_broker import EmbeddedBroker
from metroline.app.settings import Settings
from metroline.routing.journeys.dead_letter_messages import dead_letter_messages
from metroline.routing.journeys.settlement import BLOCK_OFFSETS, SettledBlock, block_key, outcome_key
from metroline.routing.messages.plain import PlainMessage
from metroline.routing.messages.record_ids import Origin
from metroline.routing.messages.segment import Segment, Visit
from metroline.routing.outcome import Cause, Outcome, ServiceError

PREFIX = "metrobus"
CAUSES = [
    Outcome.raised(ServiceError("ValueError", "no such fare", f"services.py:{line} in rate")) for line in range(10)
] + [Outcome.dead(Cause.UNROUTABLE, "no rule holds")]
HISTORY = (Visit("rating", 1.0, "all", "on-ramp", 1), Visit("money", 2.0, "paid", "rating", 1))
RECORD = orjson.dumps({"id": 17, "route": "metrobus 17", "note": "x" * 300})
ORIGIN = Origin("source", 0)


def main(count: int) -> None:
    """Write dead letters, and read them over HTTP."""
    with EmbeddedBroker.start() as broker:
        asyncio.run(_measure(broker.url, count))


async def _measure(url: str, count: int) -> None:
    cluster = Cluster.at(url)
    topics = Topics(PREFIX, f"{PREFIX}.source", {})
    plans = [TopicPlan(topic, 1) for topic in (topics.dead_letters, topics.changelog("outcomes"))]
    await TopicAdmin(cluster).create(plans)
    async with cluster.producer(linger_ms=5, max_batch_size=512 * 1024, max_request_size=8 * 1024 * 1024) as producer:
        await _write(producer, topics, count)
    app = create_app(Settings(broker_url=url))
    app.web.init_server()
    async with TestServer(cast(Web, app.web).web_app) as server, ClientSession() as client:
        letters = f"{server.make_url('/dead-letters/')}"
        [group, *_] = await _timed("the groups, for the first time", client, letters)
        await _timed("the groups, once more", client, letters)
        await _timed("a group", client, f"{letters}?group={group['group']}")
        await _timed("one dead letter", client, f"{letters}?id=source-0-{count // 2}")
    await app._maybe_close_http_client()


async def _timed(what: str, client: ClientSession, url: str) -> list[dict[str, str]]:
    longest = 0.0

    async def tick() -> None:
        nonlocal longest
        while True:
            began = time.monotonic()
            await asyncio.sleep(0.001)
            longest = max(longest, time.monotonic() - began - 0.001)

    ticks = asyncio.create_task(tick())
    began, on_loop = time.monotonic(), time.thread_time()
    async with client.get(url) as response:
        body = await response.read()
    took, on_loop = time.monotonic() - began, time.thread_time() - on_loop
    ticks.cancel()
    print(
        f"{what}: {took:.2f} s, {on_loop:.2f} s of the event loop, which stood still for up to "
        f"{1000 * longest:.0f} ms; {len(body):,} bytes"
    )
    return list(orjson.loads(body))


async def _write(producer: AIOKafkaProducer, topics: Topics, count: int) -> None:
    block = SettledBlock()
    for number, message in enumerate(_messages(count)):
        outcome = CAUSES[number % len(CAUSES)]
        block.settle([number], outcome_key("money", outcome), 2)
        headers = [(name, value.encode() if isinstance(value, str) else value) for name, value in message.headers]
        await producer.send(topics.dead_letters, message.value, key=message.key, partition=0, headers=headers)
        if number % BLOCK_OFFSETS == BLOCK_OFFSETS - 1 or number == count - 1:
            key = block_key(ORIGIN, number // BLOCK_OFFSETS)
            value = orjson.dumps(block.encode() | {"epoch": 1})
            await producer.send(topics.changelog("outcomes"), value, key=key, partition=0)
            block = SettledBlock()


def _messages(count: int) -> Iterator[PlainMessage]:
    for number in range(count):
        segment = Segment((number,), (RECORD,), 0.5, HISTORY, outcome=CAUSES[number % len(CAUSES)], hops=2)
        at = 1_700_000_000 + number / 100
        yield from dead_letter_messages(PREFIX, "signpost", ORIGIN, [segment], "metrobus.source", at, 1_000_000)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 200_000)
