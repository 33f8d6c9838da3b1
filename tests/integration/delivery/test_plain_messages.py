"""Delivered records as others read them: each is a plain Kafka message, with what its source message had."""

from __future__ import annotations

import asyncio
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path

import orjson
import pytest

from metroline.agents.kafka.topic_reader import read_topic
from metroline.agents.kafka.topics import Topics
from metroline.routing.outcome import Ending
from tests.support.brokers import JAVA, kafka_jars
from tests.support.depot import Depot, numbered

AT = int(time.time() * 1000) - 3_600_000
"""The timestamp of the first source message, in milliseconds since the epoch."""

PRINTED = ("print.timestamp", "print.key", "print.headers", "print.partition")


async def push_keyed(depot: Depot, count: int, *more: bytes | None) -> None:
    """Write source messages with keys, headers and timestamps; every other one has a key. `more` are further values."""
    await depot.create_source()
    async with depot.cluster.producer(linger_ms=5) as producer:
        sent = [
            await producer.send(
                depot.topics.source,
                value,
                key=b"key-%d" % number if number % 2 else None,
                partition=number % depot.partitions,
                timestamp_ms=AT + number,
                headers=[("number", b"%d" % number), ("type", b"order")],
            )
            for number, value in enumerate([*numbered(range(count)), *more])
        ]
        await asyncio.gather(*sent)


def consoled(bootstrap: str, topic: str, count: int) -> list[list[str]]:
    """Return the columns that Kafka's own console consumer prints for each message of a topic."""
    command = [*JAVA, "-cp", f"{kafka_jars()}/*", "org.apache.kafka.tools.consumer.ConsoleConsumer"]
    command += ["--bootstrap-server", bootstrap, "--topic", topic, "--from-beginning"]
    command += ["--max-messages", str(count), "--timeout-ms", "60000"]
    for name in PRINTED:
        command += ["--property", f"{name}=true"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=110, check=False)
    assert done.returncode == 0, done.stderr[-2_000:]
    return [line.split("\t") for line in done.stdout.splitlines() if line.startswith("CreateTime:")]


def converted(bootstrap: str, topic: str, count: int) -> list[str]:
    """Return the records of a topic as Kafka Connect's JsonConverter reads them."""
    program = Path(__file__).parents[2] / "support" / "kafka" / "ReadWithJsonConverter.java"
    command = [*JAVA, "-cp", f"{kafka_jars()}/*", str(program), bootstrap, topic, str(count), "60"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=110, check=False)
    assert done.returncode == 0, done.stderr[-2_000:]
    return [line.partition("\t")[2] for line in done.stdout.splitlines() if line.startswith("record\t")]


@pytest.mark.parametrize("broker", ["kafka"], indirect=True)
async def test_kafkas_own_console_consumer_and_connects_json_converter_read_what_is_delivered(depot: Depot) -> None:
    await push_keyed(depot, 41, None)
    depot.start(CHAINING="on", SOURCE_TOMBSTONES="deliver")
    await depot.settled(42)
    counts = await depot.counts()
    rows = await asyncio.to_thread(consoled, depot.broker.bootstrap, depot.topics.delivered, counts[Ending.DELIVERED])

    assert len(rows) == counts[Ending.DELIVERED] == 38
    partitions: dict[str, str] = {}
    for timestamp, partition, headers, key, value in rows:
        number = 41 if value == "null" else orjson.loads(value)["n"]
        offset = number // depot.partitions
        assert value == "null" or orjson.loads(value)["shelved"] is True
        assert timestamp == f"CreateTime:{AT + number}"
        assert headers == f"number:{number},type:order,metroline-id:source-{number % depot.partitions}-{offset}"
        assert key == (f"key-{number}" if number % 2 else "null")
        if key == "null":
            assert partition == f"Partition:{number % depot.partitions}"
        partitions[key] = partition
    assert len(set(partitions.values())) > 1
    assert "key-41" in partitions, "the tombstone is delivered with its key"
    read = await asyncio.to_thread(converted, depot.broker.bootstrap, depot.topics.delivered, len(rows))
    light = [n for n in range(1, 41, 2) if n % 5]
    heavy = [f"{{heavy=true, lifted=true, n={n}, shelved=true}}" for n in range(0, 41, 2)]
    assert sorted(read) == sorted(["null", *heavy, *[f"{{heavy=false, n={n}, shelved=true}}" for n in light]])


async def test_a_packed_end_is_taken_apart_by_the_line_that_reads_it_and_nothing_of_it_is_lost(depot: Depot) -> None:
    await push_keyed(depot, 20)
    depot.start(DELIVERED_FORMAT="packed")
    await depot.settled(20)
    second = Topics(f"{depot.prefix}.b", depot.topics.delivered)
    depot.start(PREFIX=second.prefix, SOURCE=second.source)

    async def keys() -> Sequence[tuple[bytes | None, int, bytes]]:
        read = read_topic(depot.cluster, second.delivered)
        return [(one.key, one.timestamp, dict(one.headers)["number"]) async for one in read]

    async def have_come() -> bool:
        return len(await keys()) >= 18

    await depot.until(have_come)
    assert sorted(await keys(), key=lambda one: one[1]) == [
        (b"key-%d" % number if number % 2 else None, AT + number, b"%d" % number)
        for number in range(20)
        if number % 2 == 0 or number % 5
    ]


async def test_a_dead_letter_is_a_message_that_describes_its_error_as_other_programs_do(depot: Depot) -> None:
    await push_keyed(depot, 1, b'{"n":"refused"}')
    depot.start()
    await depot.settled(2)

    [letter] = [one async for one in read_topic(depot.cluster, depot.topics.dead_letters)]
    assert orjson.loads(letter.value) == {"n": "refused"}
    assert (letter.key, letter.timestamp) == (b"key-1", AT + 1)
    assert letter.headers[:2] == (("number", b"1"), ("type", b"order"))
    found = dict(letter.headers)
    assert found["metroline-id"] == b"source-1-0"
    for prefix in ("__connect.errors.", "__streams.errors."):
        where = [found[f"{prefix}{name}"] for name in ("topic", "partition", "offset")]
        assert where == [depot.topics.source.encode(), b"1", b"0"]
    assert found["__connect.errors.exception.message"] == found["__streams.errors.message"] == b"it cannot be weighed"
    assert found["__connect.errors.exception.class.name"] == b"ValueError"
