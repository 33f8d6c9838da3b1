"""The schema registry: what is asked once, what is waited for, and what is a dead letter."""

from __future__ import annotations

import asyncio
import logging
import ssl
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest

from metroline.agents.formats import lookups
from metroline.agents.formats.codec import Encoder, InvalidSchema, NotWritable, SchemaPending
from metroline.agents.formats.formats import Formats, UnusableFormat
from metroline.agents.formats.lookups import RegistryHealth
from metroline.agents.formats.names import EndFormat, is_format
from metroline.agents.formats.registry import NotRegistered, RegistryAway, SchemaRegistry
from metroline.app.settings import Settings
from tests.support.bench import until
from tests.support.certificates import certified
from tests.support.fake_registry import FakeRegistry

ORDER = {"type": "record", "name": "Order", "fields": [{"name": "n", "type": "int"}]}
WIDE = {"type": "record", "name": "Order", "fields": [{"name": "n", "type": "long"}]}
SEVEN = b"\0\0\0\0\x07"


@pytest.fixture
async def registry(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[FakeRegistry]:
    monkeypatch.setattr(lookups, "PATIENCE_SECONDS", 2.0)
    monkeypatch.setattr(lookups, "FIRST_WAIT_SECONDS", 0.02)
    fake = FakeRegistry()
    fake.add(7, ORDER, subject="out-value")
    async with fake.running():
        yield fake


@pytest.fixture
async def formats(registry: FakeRegistry) -> AsyncIterator[Formats]:
    made = Formats(registry.access)
    yield made
    await made.close()


async def test_a_schema_is_asked_for_once(registry: FakeRegistry, formats: Formats) -> None:
    decoder = formats.decoder("avro", "SOURCE_FORMAT")
    assert decoder is not None

    decoded = await decoder.decode([SEVEN + b"\x02", None, SEVEN + b"\x04"])
    again = await decoder.decode([SEVEN + b"\x06"])

    assert decoded.values == [b'{"n":1}', None, b'{"n":2}']
    assert decoded.schemas == ("7", None, "7")
    assert again.values == [b'{"n":3}']
    assert registry.asked == ["/schemas/ids/7"]


async def test_an_unknown_id_is_the_problem_of_its_message_alone_and_not_asked_for_each_time(
    registry: FakeRegistry, formats: Formats
) -> None:
    decoder = formats.decoder("avro", "SOURCE_FORMAT")
    assert decoder is not None

    decoded = await decoder.decode([b"\0\0\0\0\x09x", SEVEN + b"\x02", b"{}", SEVEN])
    await decoder.decode([b"\0\0\0\0\x09x"])

    assert decoded.values == [b"\0\0\0\0\x09x", b'{"n":1}', b"{}", SEVEN], (
        "bytes that are not readable stay as they are"
    )
    assert decoded.problems[0] == "the schema registry has no schema 9: Schema not found"
    assert decoded.problems[2].startswith("not in the wire format of a schema registry")
    assert decoded.problems[3].startswith("not data of its schema")
    assert registry.asked.count("/schemas/ids/9") == 1
    assert formats.problem is None


async def test_a_schema_of_another_type_is_no_schema_of_the_format(registry: FakeRegistry, formats: Formats) -> None:
    registry.add(8, {}, "JSON")
    decoder = formats.decoder("avro", "SOURCE_FORMAT")
    assert decoder is not None

    assert (await decoder.decode([b"\0\0\0\0\x08{}"])).problems == {0: "schema 8 is of the type JSON, not AVRO"}


@pytest.mark.parametrize(("status", "text"), [(401, "settings for the login"), (503, "answered 503")])
async def test_messages_wait_while_the_registry_refuses_and_the_log_says_so_once(
    registry: FakeRegistry,
    formats: Formats,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    status: int,
    text: str,
) -> None:
    monkeypatch.setattr(lookups, "PATIENCE_SECONDS", 0.05)
    caplog.set_level(logging.INFO)
    registry.status = status
    decoder = formats.decoder("avro", "SOURCE_FORMAT")
    assert decoder is not None

    for _ in range(3):
        with pytest.raises(SchemaPending):
            await decoder.decode([SEVEN + b"\x02"])
    assert text in (formats.problem or "")
    await until(lambda: len(registry.asked) > 2)
    registry.status = 200
    await until(lambda: formats.problem is None)

    assert (await decoder.decode([SEVEN + b"\x02"])).values == [b'{"n":1}']
    told = [record.getMessage() for record in caplog.records if "schema registry" in record.getMessage()]
    assert len(told) == 2
    assert told[0].startswith(f"records wait for the schema registry {registry.url}: ")
    assert told[1] == f"the schema registry {registry.url} answers again"


async def test_a_registry_that_is_away_or_is_none_says_what_is_wrong(registry: FakeRegistry) -> None:
    async def problem(url: str) -> str:
        client = SchemaRegistry(replace(registry.access, urls=(url,)))
        with pytest.raises(RegistryAway) as away:
            await client.by_id(7)
        await client.close()
        return str(away.value)

    assert "127.0.0.1" in await problem("http://127.0.0.1:1")
    assert "is it the address of a schema registry?" in await problem(f"{registry.url}/elsewhere")


async def test_another_node_is_asked_and_the_login_is_sent(registry: FakeRegistry) -> None:
    urls = ("http://127.0.0.1:1", registry.url)
    for access, sent in (
        (replace(registry.access, urls=urls, username="me", password="secret"), "Basic bWU6c2VjcmV0"),
        (replace(registry.access, urls=urls, token="t0ken"), "Bearer t0ken"),
    ):
        client = SchemaRegistry(access)
        assert (await client.by_id(7)).type == "AVRO"
        await client.close()
        assert registry.headers[-1]["Authorization"] == sent
        assert "secret" not in repr(access)
        assert "t0ken" not in repr(access)


async def test_the_registry_and_this_client_identify_themselves_by_certificates(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server, client = certified(tmp_path, "registry"), certified(tmp_path, "worker")
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=client)
    context.load_cert_chain(server)
    context.verify_mode = ssl.CERT_REQUIRED
    fake = FakeRegistry(tls=context)
    fake.add(7, ORDER)

    async def asked(**variables: str) -> str:
        for name, value in {"SCHEMA_REGISTRY_URL": fake.url, **variables}.items():
            monkeypatch.setenv(name, value)
        access = Settings.read().registry_access()
        assert access is not None
        registry = SchemaRegistry(access)
        try:
            return (await registry.by_id(7)).type
        except RegistryAway as error:
            return str(error)
        finally:
            await registry.close()

    async with fake.running():
        assert "certificate verify failed" in await asked()
        assert await asked(SCHEMA_REGISTRY_CA_FILE=str(server)) != "AVRO", "it asks for a certificate"
        assert await asked(SCHEMA_REGISTRY_CERT_FILE=str(client)) == "AVRO"


async def test_a_schema_comes_with_all_that_it_refers_to(registry: FakeRegistry) -> None:
    registry.add(1, '"int"', subject="leaf")
    registry.add(2, '"Leaf"', subject="branch", references=[{"name": "Leaf", "subject": "leaf", "version": 1}])
    registry.add(3, '"Branch"', references=[{"name": "Branch", "subject": "branch", "version": 1}])
    client = SchemaRegistry(registry.access)

    assert (await client.by_id(3)).references == {"Branch": '"Leaf"', "Leaf": '"int"'}
    with pytest.raises(NotRegistered):
        await client.latest("none")
    await client.close()


async def test_records_are_written_by_the_latest_version_an_id_or_the_schema_of_their_source(
    registry: FakeRegistry, formats: Formats
) -> None:
    registry.add(8, WIDE, subject="out-value")
    latest = formats.encoder(EndFormat("avro"), "out")
    seven = formats.encoder(EndFormat("avro", 7), "out")
    source = formats.encoder(EndFormat("avro", "source"), "out")
    orphan = formats.encoder(EndFormat("avro", "source"), "nowhere")
    assert latest is not None
    assert seven is not None
    assert source is not None
    assert orphan is not None
    small, large = b'{"n":1}', b'{"n":4294967296}'
    eight = b"\0\0\0\0\x08"

    assert [one[:5] for one in await latest.encode([small, large], [None, "7"]) if isinstance(one, bytes)] == [
        eight
    ] * 2
    written, refused = await seven.encode([small, large], [None, None])
    assert written == SEVEN + b"\x02"
    assert str(refused) == "schema 7: n: expected an integer of 32 bits, got the number 4294967296"
    first, second = await source.encode([small, large], ["7", "7"])
    assert (first, second) == (SEVEN + b"\x02", eight + b"\x80\x80\x80\x80\x20")
    unnamed, unfit = await orphan.encode([small, large], [None, "7"])
    assert str(unnamed) == "its source message names no schema"
    assert isinstance(unfit, NotWritable)


async def test_a_schema_that_a_replay_found_is_used_although_it_was_missing_a_moment_ago(
    registry: FakeRegistry, formats: Formats, monkeypatch: pytest.MonkeyPatch
) -> None:
    decoder, encoder = formats.decoder("avro", "SOURCE_FORMAT"), formats.encoder(EndFormat("avro", "source"), "new")
    assert decoder is not None
    assert encoder is not None
    await decoder.decode([b"\0\0\0\0\x09\x02"])
    registry.add(9, ORDER)

    [too_early] = await encoder.encode([b'{"n":1}'], ["9"])
    monkeypatch.setattr(lookups, "RECHECK_SECONDS", 0.0)
    written = await encoder.encode([b'{"n":1}'], ["9"])

    assert isinstance(too_early, NotWritable), "it is not asked for with each record"
    assert written == [b"\0\0\0\0\x09\x02"]


async def test_a_subject_without_a_schema_is_waited_for(
    registry: FakeRegistry, formats: Formats, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lookups, "MISSING_SECONDS", 0.01)
    encoder = formats.encoder(EndFormat("avro"), "new")
    assert encoder is not None

    with pytest.raises(SchemaPending, match=r"it has no subject new-value, .*: register it, or name another"):
        await encoder.encode([b'{"n":1}'], [None])
    assert "it has no subject new-value" in (formats.problem or "")

    registry.subjects["new-value"] = [7]
    await until_written(encoder)
    assert formats.problem is None


async def until_written(encoder: Encoder) -> None:
    """Wait until a record can be written."""
    async with asyncio.timeout(30):
        while True:
            with suppress(SchemaPending):
                await encoder.encode([b'{"n":1}'], [None])
                return
            await asyncio.sleep(0.01)


async def test_the_latest_version_stays_in_use_while_the_registry_is_away(
    registry: FakeRegistry, formats: Formats, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lookups, "LATEST_SECONDS", 0.0)
    encoder = formats.encoder(EndFormat("avro"), "out")
    assert encoder is not None
    await encoder.encode([b'{"n":1}'], [None])
    registry.status = 500

    assert await encoder.encode([b'{"n":1}'], [None]) == [SEVEN + b"\x02"]


def test_a_format_that_cannot_be_used_names_the_setting_and_what_it_needs(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UnusableFormat, match="SOURCE_FORMAT: avro needs SCHEMA_REGISTRY_URL"):
        Formats(None).decoder("avro", "SOURCE_FORMAT")

    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(UnusableFormat, match=r"needs the package fastavro: pip install 'metroline\[avro\]'"):
        Formats(FakeRegistry().access).decoder("avro", "SOURCE_FORMAT")


@pytest.mark.parametrize(
    ("name", "is_one"),
    [("json", True), ("avro", True), ("json-schema", True), ("a.b:read", True), ("xml", False), ("a:b:c", False)],
)
def test_the_formats_by_name(name: str, is_one: bool) -> None:
    assert is_format(name) is is_one


async def test_a_schema_that_cannot_be_compiled_is_the_problem_of_its_messages(
    registry: FakeRegistry, formats: Formats
) -> None:
    registry.add(9, '{"type":"record"}')
    decoder = formats.decoder("avro", "SOURCE_FORMAT")
    assert decoder is not None

    [problem] = (await decoder.decode([b"\0\0\0\0\x09x"])).problems.values()
    assert problem.startswith("schema 9 cannot be used: ")
    assert InvalidSchema.__name__ not in problem


def test_the_log_has_one_line_in_half_a_minute_however_often_the_registry_comes_and_goes(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)
    now = 0.0
    health = RegistryHealth("http://registry", lambda: now)
    for _ in range(60):
        now += 1
        health.is_away("no answer")
        assert health.problem == "no answer"
        health.answered()
        assert health.problem is None
        health.lacks("no subject")
        assert health.problem == "no subject"
        health.has_all()
        assert health.problem is None
    health.lacks("no subject")
    now += 10

    assert [record.getMessage() for record in caplog.records] == [
        "records wait for the schema registry http://registry: no answer",
        "the schema registry http://registry answers again",
    ] * 2
    assert health.problem is None, "nobody has missed it for ten seconds"
