"""A line whose source and end have the formats that others use, with a real schema registry."""

from __future__ import annotations

import asyncio
import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from io import BytesIO
from typing import Any

import fastavro
import orjson
import pytest

from metroline.agents.formats.protobuf import ProtobufMessages
from metroline.agents.formats.registry import RegisteredSchema
from metroline.agents.kafka.topic_reader import read_topic
from metroline.app.local.worker_process import WorkerProcess
from metroline.routing.outcome import Ending
from tests.support.cli import metroline
from tests.support.depot import Depot
from tests.support.fake_registry import FakeRegistry
from tests.support.health import health
from tests.support.schema_registry import Registry, running_registry

SERVICES = """
from metroline import service


@service
def tax(record):
    record["gross"] = f"{float(record['price']) * 1.25:.2f}"
    if record["n"] % 10 == 7:
        record["surprise"] = {"n": record["n"]}
    return record
"""
RULES = """
[[rules]]
after = "source"
when = "price == '0.00'"
drop = "free of charge"

[[rules]]
after = "source"
to = "tax"
"""
OWN_FORMAT = """
def read(value):
    n, price = value.decode().split(";")
    return {"n": int(n), "price": price}


def write(record):
    return f"{record['n']};{record['gross']}".encode()
"""
DECIMAL = {"type": "bytes", "logicalType": "decimal", "precision": 9, "scale": 2}
ORDER: dict[str, Any] = {
    "type": "record",
    "name": "acme.Order",
    "fields": [
        {"name": "n", "type": "int"},
        {"name": "price", "type": DECIMAL},
        {"name": "at", "type": {"type": "long", "logicalType": "timestamp-millis"}},
        {"name": "note", "type": ["null", "string", "bytes"]},
    ],
}
TAXED = {**ORDER, "name": "acme.Taxed", "fields": [*ORDER["fields"], {"name": "gross", "type": DECIMAL}]}
AT = datetime(2026, 11, 27, 10, 15, 30, 123_000, tzinfo=UTC)
ORDER_PROTO = 'syntax = "proto3"; package acme; message Other {} message Order { int32 n = 1; string price = 2; }'
TAXED_JSON = {
    "type": "object",
    "properties": {"n": {"type": "integer"}, "gross": {"type": "string"}, "price": {"type": "string"}},
    "additionalProperties": False,
}


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    with running_registry(tmp_path_factory.mktemp("registry")) as running:
        yield running


def order(number: int) -> dict[str, Any]:
    """Return an order as a Python program has it."""
    note = [None, "a note", b"\xff\x00"][number % 3]
    return {"n": number, "price": Decimal(number) / 4, "at": AT + timedelta(seconds=number), "note": note}


def avro(identity: int, schema: Any, record: dict[str, Any]) -> bytes:
    """Return a message as Confluent's serializers write it."""
    written = BytesIO()
    fastavro.schemaless_writer(written, fastavro.parse_schema(schema), record)
    return b"\0" + identity.to_bytes(4, "big") + written.getvalue()


def unavro(identity: int, schema: Any, value: bytes) -> Any:
    assert value[:5] == b"\0" + identity.to_bytes(4, "big")
    return fastavro.schemaless_reader(BytesIO(value[5:]), fastavro.parse_schema(schema), None)


async def delivered(depot: Depot) -> list[bytes]:
    return [message.value async for message in read_topic(depot.cluster, depot.topics.delivered)]


@pytest.mark.parametrize("broker", ["kafka"], indirect=True)
async def test_avro_in_and_out_while_the_registry_is_away_and_back(depot: Depot, registry: Registry) -> None:
    depot.write(SERVICES, RULES)
    taken = registry.register(f"{depot.topics.source}-value", ORDER)
    given = registry.register(f"{depot.topics.delivered}-value", TAXED)
    await depot.push([avro(taken, ORDER, order(number)) for number in range(40)])
    await depot.push([avro(999_999, ORDER, order(1)), b"no avro", avro(taken, ORDER, order(2))[:-1]])
    registry.freeze()
    worker = depot.start(SOURCE_FORMAT="avro", DELIVERED_FORMAT="avro", SCHEMA_REGISTRY_URL=registry.url, CHAINING="on")

    async def is_not_ready() -> bool:
        answer = await asyncio.to_thread(health, worker, "/health/ready")
        return answer is not None and answer.failing == {"schema_registry"}

    await depot.until(is_not_ready)
    alive = await asyncio.to_thread(health, worker, "/health/live")
    assert alive is not None
    assert alive.status == 200
    assert await depot.counts() == {}
    registry.thaw()
    await depot.settled(43)

    assert await depot.counts() == {Ending.DELIVERED: 35, Ending.DROPPED: 1, Ending.DEAD: 7}
    found = {one["n"]: one for one in [unavro(given, TAXED, value) for value in await delivered(depot)]}
    expected = {n: order(n) | {"gross": round(Decimal(n) / 4 * 5 / 4, 2)} for n in range(1, 40) if n % 10 != 7}
    assert {n: one | {"gross": 0} for n, one in found.items()} == {n: one | {"gross": 0} for n, one in expected.items()}
    assert all(abs(found[n]["gross"] - expected[n]["gross"]) <= Decimal("0.01") for n in found)
    letters = await depot.letters()
    reasons = sorted(reason for _, reason, _ in letters)
    assert reasons[0].startswith("malformed_record: not data of its schema")
    assert reasons[1].startswith("malformed_record: not in the wire format of a schema registry")
    assert reasons[2].startswith("malformed_record: the schema registry has no schema 999999: ")
    problem = f"({depot.topics.delivered}-value, version 1): surprise: the type Taxed has no such field"
    assert [reason for reason in reasons if f"{problem}, got the object {{" in reason] == reasons[3:]
    assert all(reason.startswith("not_encodable: the end 'end': schema ") for reason in reasons[3:])
    kept = [orjson.loads(line) for _, reason, line in letters if reason.startswith("not_encodable")]
    assert sorted(one["surprise"]["n"] for one in kept) == [7, 17, 27, 37], "nothing of the record is lost"
    log = worker.child.log.read_text()
    assert log.count("records wait for the schema registry") == 1
    assert "Traceback" not in log


@pytest.mark.parametrize("broker", ["embedded"], indirect=True)
async def test_protobuf_in_and_json_schema_out(depot: Depot, registry: Registry) -> None:
    depot.write(SERVICES, RULES)
    taken = registry.register(f"{depot.topics.source}-value", ORDER_PROTO, "PROTOBUF")
    given = registry.register(f"{depot.topics.delivered}-value", TAXED_JSON, "JSON")
    messages = ProtobufMessages(RegisteredSchema(taken, "PROTOBUF", ORDER_PROTO), "acme.Order")
    await depot.push([messages.write(orjson.dumps({"n": n, "price": f"{n}.00"}), None) for n in range(8)])
    depot.start(
        SOURCE_FORMAT="protobuf",
        DELIVERED_FORMAT="json-schema",
        SCHEMA_REGISTRY_URL=registry.url,
        DELIVERED_SCHEMA=str(given),
    )
    await depot.settled(8)

    values = await delivered(depot)
    assert {value[:5] for value in values} == {b"\0" + given.to_bytes(4, "big")}
    assert sorted(orjson.loads(value[5:])["n"] for value in values) == [1, 2, 3, 4, 5, 6]
    [(_, reason, _)] = await depot.letters()
    assert reason.startswith(f"not_encodable: the end 'end': schema {given}: the record: ")
    assert "surprise" in reason
    assert reason.endswith("(its type is object)")


@pytest.mark.parametrize("broker", ["embedded"], indirect=True)
@pytest.mark.long
async def test_json_in_and_protobuf_out_for_which_the_arrivals_wait_until_it_is_registered(
    depot: Depot, registry: Registry
) -> None:
    depot.write(SERVICES, RULES)
    await depot.push([orjson.dumps({"n": n, "price": f"{n}.00"}) for n in range(1, 5)])
    worker = depot.start(
        DELIVERED_FORMAT="protobuf",
        SCHEMA_REGISTRY_URL=registry.url,
        DELIVERED_MESSAGE="acme.Taxed",
        CHAINING="on",
    )
    await depot.until(lambda: "it has no subject" in worker.child.log.read_text())
    assert await depot.counts() == {}
    text = f"{ORDER_PROTO} message Taxed {{ int32 n = 1; string price = 2; string gross = 3; }}"
    given = registry.register(f"{depot.topics.delivered}-value", text, "PROTOBUF")
    await depot.settled(4)

    messages = ProtobufMessages(RegisteredSchema(given, "PROTOBUF", text))
    read = [messages.read(value) for value in await delivered(depot)]
    assert sorted(orjson.loads(line)["gross"] for line, _ in read) == ["1.25", "2.50", "3.75", "5.00"]
    assert {schema for _, schema in read} == {f"{given}:2"}


@pytest.mark.parametrize("broker", ["embedded"], indirect=True)
@pytest.mark.long
async def test_a_worker_stops_while_the_registry_is_away(depot: Depot) -> None:
    depot.write(SERVICES, RULES)
    await depot.push([b"\0\0\0\0\1x"])
    away = {"SCHEMA_REGISTRY_URL": "http://127.0.0.1:1", "DELIVERED_FORMAT": "avro"}
    worker = depot.start(SOURCE_FORMAT="avro", **away)
    second = depot.start(PREFIX=f"{depot.prefix}.b", SOURCE=f"{depot.prefix}.json", **away)
    await depot.push([b'{"n": 1, "price": "1.00"}'], f"{depot.prefix}.json")
    for one in (worker, second):
        await depot.until(lambda one=one: "records wait for the schema registry" in one.child.log.read_text())  # type: ignore[misc]

    assert [await depot.stop(one) for one in (worker, second)] == [0, 0]
    assert await depot.counts() == {}


@pytest.mark.long
@pytest.mark.parametrize("broker", ["kafka"], indirect=True)
async def test_what_waits_for_the_registry_is_taken_over_by_another_worker(depot: Depot) -> None:
    depot.write(SERVICES, RULES)
    fake = FakeRegistry()
    fake.add(7, ORDER)
    fake.add(8, TAXED)
    told = {"SOURCE_FORMAT": "avro", "DELIVERED_FORMAT": "avro", "SCHEMA_REGISTRY_URL": fake.url, "CHAINING": "on"}

    def waits(worker: WorkerProcess) -> bool:
        return "it has no subject" in worker.child.log.read_text()

    async with fake.running():
        await depot.push([avro(7, ORDER, order(number)) for number in range(1, 6)])
        first = depot.start(**told)
        await depot.until(lambda: waits(first))
        second = depot.start(**told)
        await depot.ready(second)
        await depot.kill(first)
        await depot.push([avro(7, ORDER, order(8))])
        await depot.until(lambda: waits(second))
        assert await depot.counts() == {}
        fake.subjects[f"{depot.topics.delivered}-value"] = [8]
        await depot.settled(6)

    assert await depot.counts() == {Ending.DELIVERED: 6}
    assert sorted(unavro(8, TAXED, value)["n"] for value in await delivered(depot)) == [1, 2, 3, 4, 5, 8]


@pytest.mark.parametrize("broker", ["embedded"], indirect=True)
async def test_the_check_asks_the_registry_for_the_schemas_of_the_source_and_the_ends(
    depot: Depot, registry: Registry
) -> None:
    depot.write(SERVICES, RULES)
    (depot.folder / "line.toml").write_text(
        f'[ends.shipped]\ntopic = "{depot.prefix}.shipped"\nformat = "protobuf"\nmessage = "acme.Bill"\n'
    )
    registry.register(f"{depot.topics.source}-value", ORDER)
    registry.register(f"{depot.prefix}.shipped-value", ORDER_PROTO, "PROTOBUF")
    await depot.create_source()

    def check(*words: str, **variables: str) -> subprocess.CompletedProcess[str]:
        told = {"SOURCE_FORMAT": "avro", "DELIVERED_FORMAT": "avro", "SCHEMA_REGISTRY_URL": registry.url} | variables
        return metroline("check", "routes.toml", "--broker", *words, cwd=depot.folder, **depot.environment(**told))

    wrong = await asyncio.to_thread(check, "--json", "-")
    (depot.folder / "line.toml").write_text("")
    right = await asyncio.to_thread(check, DELIVERED_FORMAT="json")

    found = orjson.loads(wrong.stdout)
    assert (wrong.returncode, found["topics"]["usable"], found["formats"]["usable"]) == (1, True, False)
    problems = {one["end"]: one for one in found["formats"]["problems"]}
    assert all(one["fatal"] for one in problems.values())
    waits = f"records wait for the schema registry {registry.url}: "
    assert problems["end"]["problem"].startswith(f"{waits}it has no subject {depot.topics.delivered}-value, by which ")
    assert problems["shipped"]["problem"].startswith(f"{waits}schema ")
    assert "it has no message acme.Bill, only acme.Other, acme.Order" in problems["shipped"]["problem"]
    assert (right.returncode, right.stdout.splitlines()[-2:]) == (0, ["formats: usable", "topics: usable"])


@pytest.mark.parametrize("broker", ["embedded"], indirect=True)
async def test_dead_letters_are_read_again_with_a_schema_that_was_registered_since(depot: Depot) -> None:
    depot.write(SERVICES, RULES)
    fake = FakeRegistry()
    fake.add(7, ORDER)
    variables = {"SOURCE_FORMAT": "avro", "SCHEMA_REGISTRY_URL": fake.url}
    environment = depot.environment(**variables)

    def replay() -> subprocess.CompletedProcess[str]:
        ids = ("source-0-0", "source-0-1")
        return metroline("dead-letters", "replay", *ids, cwd=depot.folder, **environment)

    async with fake.running():
        await depot.create_source()
        async with depot.cluster.producer() as producer:
            for value in (avro(9, ORDER, order(3)), b"no avro", avro(7, ORDER, order(4))):
                sent = {"key": b"k", "headers": [("from", b"here")], "timestamp_ms": 1_700_000_000_000}
                await producer.send_and_wait(depot.topics.source, value, partition=0, **sent)
        depot.start(**variables)
        await depot.settled(3)
        assert await depot.counts() == {Ending.DELIVERED: 1, Ending.DEAD: 2}

        too_early = await asyncio.to_thread(replay)
        fake.add(9, ORDER)
        replayed = await asyncio.to_thread(replay)
        await depot.until(lambda: depot_counts(depot, {Ending.DELIVERED: 2, Ending.DEAD: 1}))
        again = await asyncio.to_thread(replay)

    assert too_early.returncode == 1
    assert "source-0-0 holds no record" in too_early.stderr
    assert "(the schema registry has no schema 9: Schema not found): give the record with --record" in too_early.stderr
    assert (replayed.returncode, replayed.stdout) == (1, "1 dead letter is replayed\n")
    assert replayed.stderr.startswith("source-0-1 stays a dead letter: not in the wire format of a schema registry")
    assert "source-0-0 is no dead letter" in again.stderr
    messages = [message async for message in read_topic(depot.cluster, depot.topics.delivered)]
    kept = {dict(one.headers)["metroline-id"]: one for one in messages}
    message = kept[b"source-0-0"]
    assert (message.key, dict(message.headers)["from"], message.timestamp) == (b"k", b"here", 1_700_000_000_000)
    assert orjson.loads(message.value)["n"] == 3


async def depot_counts(depot: Depot, counts: dict[Ending, int]) -> bool:
    """Return whether these are the numbers of records by outcome."""
    return await depot.counts() == counts


@pytest.mark.parametrize("broker", ["embedded"], indirect=True)
async def test_functions_of_a_lines_author_read_and_write(depot: Depot) -> None:
    depot.write(SERVICES, RULES)
    (depot.folder / "own_wire_format.py").write_text(OWN_FORMAT)
    await depot.push([b"1;1.00", b"2;2.00", b"nothing"])
    depot.start(SOURCE_FORMAT="own_wire_format:read", DELIVERED_FORMAT="own_wire_format:write")
    await depot.settled(3)

    assert sorted(await delivered(depot)) == [b"1;1.25", b"2;2.50"]
    [(_, reason, line)] = await depot.letters()
    assert reason.startswith("malformed_record: ValueError: ")
    assert orjson.loads(line) == {"raw": {"size": 7, "text": "nothing"}}
