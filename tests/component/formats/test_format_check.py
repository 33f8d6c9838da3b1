"""The check of a line's formats: what a worker would meet at its start or at the first record, without a worker."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from metroline.agents.formats.format_check import FormatProblem, SourceFormat, check_formats
from metroline.agents.formats.formats import Formats
from metroline.agents.formats.names import Choice, EndFormat
from tests.support.fake_registry import FakeRegistry

ORDER = {"type": "record", "name": "Order", "fields": [{"name": "n", "type": "int"}]}
PROTO = 'syntax = "proto3"; package acme; message Order { int32 n = 1; }'
AVRO_SOURCE = SourceFormat("avro", "SOURCE_FORMAT", "in")


@pytest.fixture
async def registry() -> AsyncIterator[FakeRegistry]:
    fake = FakeRegistry()
    fake.add(1, ORDER, subject="in-value")
    fake.add(2, ORDER, subject="out-value")
    fake.add(3, PROTO, "PROTOBUF", subject="proto-value")
    fake.add(4, '{"type": "record"}', subject="broken-value")
    async with fake.running():
        yield fake


async def found(
    registry: FakeRegistry, source: SourceFormat | None = None, **ends: tuple[EndFormat, str]
) -> list[FormatProblem]:
    """Return the problems of a source and of ends, each given with its format and its topic."""
    formats = Formats(registry.access)
    try:
        return await check_formats(formats, source, ends)
    finally:
        await formats.close()


def avro(schema: Choice = "latest") -> EndFormat:
    return EndFormat("avro", schema, None, "ends.shipped.format in line.toml")


async def test_formats_that_can_be_used_have_no_problem(registry: FakeRegistry) -> None:
    json, packed = (EndFormat(), "out"), (EndFormat("packed"), "out")
    second = EndFormat("protobuf", "latest", "acme.Order")
    ends = {"end": (avro(), "out"), "kept": (avro(1), "other"), "proto": (second, "proto"), "json": json}

    assert await found(registry, AVRO_SOURCE, **ends, packed=packed) == []


@pytest.mark.parametrize(
    ("chosen", "topic", "problem"),
    [
        (avro(), "new", "it has no subject new-value, by which records are delivered (Subject 'new-value' not found.)"),
        (avro(9), "out", "it has no schema 9, by which records are delivered (Schema not found): register it, or name"),
        (avro(), "broken", "schema 4 (broken-value, version 1) cannot be used: "),
        (avro(), "proto", "schema 3 (proto-value, version 1) is of the type PROTOBUF, not AVRO: records cannot be"),
        (EndFormat("protobuf", 3, "acme.Bill"), "out", "schema 3 cannot be used: it has no message acme.Bill, only"),
    ],
)
async def test_an_end_whose_schema_cannot_be_used_is_said_in_the_words_of_a_worker(
    registry: FakeRegistry, chosen: EndFormat, topic: str, problem: str
) -> None:
    [only] = await found(registry, shipped=(chosen, topic))

    assert (only.end, only.setting, only.is_fatal) == ("shipped", chosen.setting, True)
    assert only.text.startswith(f"records wait for the schema registry {registry.url}: {problem}")
    assert str(only) == f"the end 'shipped': {only.text}"


@pytest.mark.parametrize(("status", "text"), [(401, "settings for the login right?"), (503, "answered 503")])
async def test_a_registry_that_refuses_is_said_of_all_that_need_it(
    registry: FakeRegistry, status: int, text: str
) -> None:
    registry.status = status

    problems = await found(registry, AVRO_SOURCE, end=(avro("source"), "out"), json=(EndFormat(), "out"))

    assert [(one.end, one.is_fatal) for one in problems] == [(None, True), ("end", True)]
    for one in problems:
        assert one.text.startswith(f"records wait for the schema registry {registry.url}: ")
        assert text in one.text
    assert len(registry.asked) == 2, "it is asked once for each, and not waited for"


async def test_a_format_that_keeps_a_worker_from_starting_is_said_with_its_setting() -> None:
    ends = {"own": (EndFormat("nowhere.at_all:write", setting="DELIVERED_FORMAT"), "out"), "end": (avro(), "out")}
    first, second, third = await check_formats(Formats(None), AVRO_SOURCE, ends)

    assert str(first).startswith("the source: SOURCE_FORMAT: avro needs SCHEMA_REGISTRY_URL, ")
    assert second.text.startswith("DELIVERED_FORMAT: nowhere.at_all:write cannot be imported: ")
    assert third.text.startswith("ends.shipped.format in line.toml: avro needs SCHEMA_REGISTRY_URL, ")
    assert all(one.is_fatal for one in (first, second, third))


@pytest.mark.parametrize(
    ("topic", "is_fatal", "text"),
    [
        ("elsewhere", False, "has no subject elsewhere-value (Subject 'elsewhere-value' not found.), so "),
        ("broken", True, "schema 4 (broken-value, version 1) cannot be used: "),
        ("proto", True, "schema 3 (proto-value, version 1) is of the type PROTOBUF, not AVRO: messages that name it"),
    ],
)
async def test_a_source_is_checked_by_the_latest_schema_of_its_subject_which_it_may_not_have(
    registry: FakeRegistry, topic: str, is_fatal: bool, text: str
) -> None:
    [only] = await found(registry, AVRO_SOURCE._replace(topic=topic))

    assert (only.end, only.is_fatal) == (None, is_fatal)
    assert text in only.text


@pytest.mark.parametrize(("source", "is_fatal"), [(AVRO_SOURCE, False), (SourceFormat("json", "", "in"), True)])
async def test_a_subject_that_is_only_the_second_choice_may_be_missing_if_messages_name_schemas(
    registry: FakeRegistry, source: SourceFormat, is_fatal: bool
) -> None:
    [only] = await found(registry, source, end=(avro("source"), "new"))

    assert only.is_fatal is is_fatal
    assert "it has no subject new-value" in only.text
    assert only.text.endswith("Records that do not fit the schema of their source message become dead letters")
