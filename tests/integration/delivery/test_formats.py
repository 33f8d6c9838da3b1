"""A line whose source and end have the formats that others use, with a real schema registry."""

from __future__ import annotations

import asyncio
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
