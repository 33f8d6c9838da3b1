"""Records become documents, each with its own answer, whatever the cluster says to the request."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import orjson
import pytest
from aiohttp import web

from metroline.agents.gateways.opensearch import bulk_writer
from metroline.agents.gateways.opensearch.access import OpenSearchSettings
from metroline.agents.gateways.opensearch.bulk import WRITTEN, Document, Fate, Item
from metroline.agents.gateways.opensearch.bulk_writer import BulkWriter
from metroline.agents.gateways.opensearch.cluster import SearchCluster
from metroline.agents.gateways.opensearch.end import OpenSearchEnd
from metroline.agents.gateways.outside_end import Answer, Delayed, Outgoing, RefusedByEnd
from metroline.agents.http.access import HttpAccess, UnusableAccess
from metroline.app.local.ports import HOST, free_port
from metroline.routing.meta import Meta
from tests.support.certificates import certified
from tests.support.fake_opensearch import FakeOpenSearch, ItemError, refusal

NOON = 1_795_780_800.0
"""2026-11-27T12:00:00Z, in seconds since the epoch."""

UNMAPPED = (400, "mapper_parsing_exception", "failed to parse field [n]")
BUSY = (429, "rejected_execution_exception", "rejected execution of coordinating operation")


class Clock:
    """A clock that goes on when somebody sleeps."""

    def __init__(self) -> None:
        self.now = 0.0
        self.slept: list[float] = []

    def __call__(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.now += seconds
        self.slept.append(seconds)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def search() -> AsyncIterator[FakeOpenSearch]:
    async with FakeOpenSearch().running() as running:
        yield running


def outgoing(number: int, timestamp: float | None = NOON, prefix: str = "orders", **fields: Any) -> Outgoing:
    meta = Meta(None, {}, timestamp, "orders.in", 0, number)
    return Outgoing({"n": number} | fields, f"source-0-{number}", meta, prefix)


def end(search: FakeOpenSearch, **options: Any) -> OpenSearchEnd:
    return OpenSearchEnd.model_validate({"kind": "opensearch", "index": "orders", "url": search.url} | options)


async def written(search: FakeOpenSearch, *pack: Outgoing, **options: Any) -> list[Answer]:
    """Write a pack at an end with these options."""
    async with end(search, **options).open("search") as writer:
        return list(await writer.write(pack))


async def results(access: HttpAccess, clock: Clock, count: int = 3) -> list[Item]:
    """Write some documents, with a clock that does not wait."""
    cluster = SearchCluster(access)
    try:
        writer = BulkWriter("search", cluster, None, clock.sleep, clock)
        return await writer.write([Document("orders", str(n), b'{"n":%d}' % n) for n in range(count)])
    finally:
        await cluster.close()


async def test_records_are_documents_in_the_index_of_their_time(search: FakeOpenSearch) -> None:
    pack = [outgoing(1), outgoing(2, timestamp=NOON + 86_400)]

    assert await written(search, *pack, index="orders-%Y.%m.%d") == [None, None]
    assert search.documents == {
        ("orders-2026.11.27", "orders-source-0-1"): {"n": 1},
        ("orders-2026.11.28", "orders-source-0-2"): {"n": 2},
    }
    assert search.bulks == [2]


async def test_lines_that_write_to_one_index_leave_the_documents_of_others_alone(search: FakeOpenSearch) -> None:
    await written(search, outgoing(1, line="orders"))
    await written(search, outgoing(1, prefix="returns", line="returns"))

    assert {id: document["line"] for (_, id), document in search.documents.items()} == {
        "orders-source-0-1": "orders",
        "returns-source-0-1": "returns",
    }


async def test_a_write_that_was_cancelled_is_written_again_by_the_same_writer(tmp_path: Path) -> None:
    (tmp_path / "own.json").write_text('{"index_patterns": ["orders"]}')
    asked, hangs = asyncio.Event(), asyncio.Event()

    class Hanging(FakeOpenSearch):
        async def answer(self, request: web.Request) -> web.StreamResponse:
            asked.set()
            await hangs.wait()
            return await super().answer(request)

    async with Hanging().running() as search:
        options = {"kind": "opensearch", "index": "orders", "url": search.url, "template": "own.json"}
        made = OpenSearchEnd.model_validate(options, context={"folder": tmp_path})
        async with made.open("search") as writer:
            writing = asyncio.create_task(writer.write([outgoing(1)]))
            await asked.wait()
            writing.cancel()
            await asyncio.wait([writing])
            hangs.set()
            assert writing.cancelled()
            assert list(await asyncio.wait_for(writer.write([outgoing(1)]), 60)) == [None]

    assert list(search.templates) == ["own"]
    assert search.count("orders") == 1


async def test_a_field_may_hold_the_time(search: FakeOpenSearch) -> None:
    pack = [outgoing(1, at="2025-01-02T23:30:00-02:00"), outgoing(2, at=1_735_689_600_000), outgoing(3, at="soon")]

    *rest, refused = await written(search, *pack, index="orders-%Y.%m.%d", time="at")

    assert rest == [None, None]
    assert {index for index, _ in search.documents} == {"orders-2025.01.03", "orders-2025.01.01"}
    assert isinstance(refused, RefusedByEnd)
    assert "the field 'at', which is neither" in str(refused)


async def test_a_record_without_time_is_refused_where_the_index_needs_one(search: FakeOpenSearch) -> None:
    lost, fixed = outgoing(1, timestamp=None), outgoing(2)

    refused, answer = await written(search, lost, fixed, index="orders-%Y")

    assert isinstance(refused, RefusedByEnd)
    assert "name a field with `time`" in str(refused)
    assert answer is None
    assert await written(search, lost) == [None]


async def test_a_field_may_hold_the_id(search: FakeOpenSearch) -> None:
    pack = [outgoing(1, order="a"), outgoing(2, order=7), outgoing(3, order=None), outgoing(4, order=["a"])]

    first, second, *refused = await written(search, *pack, id="order")

    assert (first, second) == (None, None)
    assert {id for _, id in search.documents} == {"a", "7"}
    assert all(isinstance(one, RefusedByEnd) for one in refused)


async def test_a_mapping_error_is_that_of_its_record_alone(search: FakeOpenSearch) -> None:
    search.errors = [lambda document: UNMAPPED if document["n"] == 2 else None]

    first, refused, third = await written(search, outgoing(1), outgoing(2), outgoing(3))

    assert (first, third) == (None, None)
    assert isinstance(refused, RefusedByEnd)
    assert str(refused) == "400 mapper_parsing_exception: failed to parse field [n]"
    assert search.count("orders") == 2


async def test_only_documents_that_were_rejected_are_sent_again(search: FakeOpenSearch, clock: Clock) -> None:
    search.errors = [lambda document: BUSY if document["n"] else None, lambda document: None]

    assert await results(search.access, clock) == [WRITTEN] * 3
    assert search.bulks == [3, 2]


@pytest.mark.parametrize("status", [429, 502, 503, 504])
async def test_a_busy_cluster_is_left_alone_for_as_long_as_it_asks(
    search: FakeOpenSearch, clock: Clock, status: int
) -> None:
    search.answers = [refusal(status, "busy", "try later", Retry_After="7")] * 2

    assert await results(search.access, clock) == [WRITTEN] * 3
    assert clock.slept == [7.0, 7.0]


async def test_waits_grow_and_end_after_some_seconds(search: FakeOpenSearch, clock: Clock) -> None:
    search.errors = [lambda document: BUSY]

    found = await results(search.access, clock)

    assert {one.fate for one in found} == {Fate.WAITS}
    assert found[0].reason == "429 rejected_execution_exception: rejected execution of coordinating operation"
    assert clock.now <= bulk_writer.PATIENCE_SECONDS
    assert max(clock.slept) <= bulk_writer.MAX_BACKOFF
    assert len(search.bulks) < 100, "it is not asked without a pause"


@pytest.mark.parametrize(
    "error",
    [
        BUSY,
        (503, "unavailable_shards_exception", "primary shard is not active"),
        (403, "cluster_block_exception", "index [orders] blocked by: [FORBIDDEN/8/index write (api)]"),
        (403, "security_exception", "no permissions for [indices:data/write/bulk[s]]"),
        (404, "index_not_found_exception", "no such index [orders] and [action.auto_create_index] is [false]"),
        (400, "validation_exception", "this cluster currently has [1000]/[1000] maximum shards open"),
        (400, "index_closed_exception", "closed"),
        (400, "illegal_argument_exception", "no write index is defined for alias [orders]"),
        (400, "illegal_argument_exception", "only write ops with an op_type of create are allowed in data streams"),
        (400, "illegal_argument_exception", "pipeline with id [enrich] does not exist"),
        (400, "illegal_argument_exception", "number of documents in the index cannot exceed [2147483519]"),
        (400, "routing_missing_exception", "routing is required for [orders]/[1]"),
        (400, "invalid_index_name_exception", "Invalid index name [orders]"),
        (500, "whatever", "as the test says"),
    ],
)
async def test_a_record_waits_for_what_is_no_fault_of_its_own(
    search: FakeOpenSearch, monkeypatch: pytest.MonkeyPatch, error: ItemError
) -> None:
    monkeypatch.setattr(bulk_writer, "PATIENCE_SECONDS", 0.0)
    search.errors = [lambda document: error if document["n"] else None]

    first, second = await written(search, outgoing(0), outgoing(1))

    assert first is None
    assert isinstance(second, Delayed)
    assert second.reason == f"{error[0]} {error[1]}: {error[2]}"


async def test_a_later_version_that_is_there_counts_as_written(search: FakeOpenSearch) -> None:
    search.errors = [lambda document: (409, "version_conflict_engine_exception", "current version is higher")]

    assert await written(search, outgoing(1, order="a"), id="order") == [None]


async def test_a_request_that_is_too_large_is_divided(search: FakeOpenSearch, clock: Clock) -> None:
    search.max_documents = 2

    assert await results(search.access, clock, count=5) == [WRITTEN] * 5
    assert search.count("orders") == 5
    assert max(search.bulks) == 2

    search.max_documents = 0
    [refused] = await results(search.access, clock, count=1)
    assert refused == Item(Fate.REFUSED, f"{search.url} answered 413: it is too large")


@pytest.mark.parametrize(
    ("status", "reason"),
    [
        (401, "missing authentication (are the OPENSEARCH settings for the login right?)"),
        (403, "missing authentication (the user or key lacks a right)"),
    ],
)
async def test_records_wait_for_a_login_that_is_refused(
    search: FakeOpenSearch, clock: Clock, caplog: pytest.LogCaptureFixture, status: int, reason: str
) -> None:
    search.answers = [refusal(status, "security_exception", "missing authentication")] * 100

    found = await results(search.access, clock)

    assert {one.fate for one in found} == {Fate.WAITS}
    assert found[0].reason == f"{search.url} answered {status}: security_exception: {reason}"
    [line] = caplog.messages
    assert line == f"the end search: records wait: {found[0].reason}"


async def test_records_wait_for_a_cluster_that_is_away(clock: Clock, caplog: pytest.LogCaptureFixture) -> None:
    nobody = f"http://{HOST}:{free_port()}"

    found = await results(HttpAccess((nobody,)), clock)

    assert {one.fate for one in found} == {Fate.WAITS}
    assert nobody in found[0].reason
    assert len(caplog.messages) == 1


async def test_the_next_node_is_asked_when_one_is_away(search: FakeOpenSearch, clock: Clock) -> None:
    nobody = f"http://{HOST}:{free_port()}"

    assert await results(HttpAccess((nobody, search.url)), clock) == [WRITTEN] * 3
    assert clock.slept == []


async def test_requests_that_find_a_node_away_at_once_all_find_the_next_one() -> None:
    came = asyncio.Event()

    class Dying(FakeOpenSearch):
        async def answer(self, request: web.Request) -> web.StreamResponse:
            if len(self.headers) == 4:
                came.set()
            await came.wait()
            return web.Response(status=502)

    async with Dying().running() as first, FakeOpenSearch().running() as second:
        cluster = SearchCluster(HttpAccess((first.url, second.url)))
        try:
            documents = [[Document("orders", str(n), b"{}")] for n in range(4)]
            assert await asyncio.gather(*map(cluster.write, documents)) == [[WRITTEN]] * 4
            await cluster.write(documents[0])
        finally:
            await cluster.close()
        assert (len(first.headers), second.bulks) == (4, [1] * 5), "the node that answered is asked first from then on"


async def test_an_expired_certificate_is_waited_for_and_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    server = certified(tmp_path, "search", is_expired=True)
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    tls.load_cert_chain(server)
    monkeypatch.setenv("OPENSEARCH_CA_FILE", str(server))
    monkeypatch.setattr(bulk_writer, "PATIENCE_SECONDS", 0.0)
    async with FakeOpenSearch(tls=tls).running() as search:
        [answer] = await written(search, outgoing(1))
    assert isinstance(answer, Delayed)
    assert "certificate has expired" in answer.reason


async def test_an_elasticsearch_is_a_cluster_as_well(search: FakeOpenSearch) -> None:
    def root() -> web.Response:
        version = {"number": "8.15.0", "build_flavor": "default", "lucene_version": "9.11.1"}
        body = {"name": "es01", "version": version, "tagline": "You Know, for Search"}
        return web.json_response(body, headers={"X-Elastic-Product": "Elasticsearch"})

    search.answers = [root]
    cluster = SearchCluster(search.access)
    try:
        assert await cluster.version() == "Elasticsearch 8.15.0"
    finally:
        await cluster.close()
    search.errors = [lambda document: (400, "document_parsing_exception", "[1:6] failed to parse field [n]")]
    [refused] = await written(search, outgoing(1))
    assert isinstance(refused, RefusedByEnd)
    assert search.headers[-1]["Content-Type"] == "application/x-ndjson"
    assert search.headers[-1]["Accept"] == "application/json"


async def test_what_is_no_cluster_makes_no_dead_letters(clock: Clock) -> None:
    def answer() -> web.Response:
        return web.Response(status=400, text="the plain HTTP request was sent to HTTPS port")

    async with FakeOpenSearch(answers=[answer] * 100).running() as other:
        found = await results(other.access, clock)

    assert {one.fate for one in found} == {Fate.WAITS}
    assert found[0].reason.endswith("without JSON: is it the address of an OpenSearch or Elasticsearch cluster?")


async def test_ids_that_would_fail_the_whole_request_are_refused_alone(search: FakeOpenSearch) -> None:
    pack = [outgoing(1, order="a" * 513), outgoing(2, order=""), outgoing(3, order="b")]

    long, empty, fine = await written(search, *pack, id="order")

    assert isinstance(long, RefusedByEnd)
    assert isinstance(empty, RefusedByEnd)
    assert fine is None
    assert search.bulks == [1]


@pytest.mark.parametrize(("present", "expected"), [(None, 2), (1, 2), (2, 2), (3, 3)])
async def test_a_template_is_put_once_unless_its_version_is_there(
    search: FakeOpenSearch, tmp_path: Path, present: int | None, expected: int
) -> None:
    template = {"index_patterns": ["orders-*"], "version": 2, "template": {"mappings": {"dynamic": "strict"}}}
    (tmp_path / "orders.json").write_bytes(orjson.dumps(template))
    if present is not None:
        search.templates["orders"] = {"index_patterns": ["orders-*"], "version": present}
    options = {"kind": "opensearch", "index": "orders-1", "url": search.url, "template": "orders.json"}
    made = OpenSearchEnd.model_validate(options, context={"folder": tmp_path})

    async with made.open("search") as writer:
        await asyncio.gather(*(writer.write([outgoing(n)]) for n in range(3)))
        asked = len(search.headers)
        await writer.write([outgoing(4)])

    assert search.templates["orders"]["version"] == expected
    assert len(search.headers) == asked + 1, "the template is not asked for again"
    assert search.count("orders-1") == 4


async def test_nothing_is_written_without_the_template(search: FakeOpenSearch, tmp_path: Path) -> None:
    (tmp_path / "orders.json").write_text('{"index_patterns": []}')
    options = {"kind": "opensearch", "index": "orders-1", "url": search.url, "template": "orders.json"}
    made = OpenSearchEnd.model_validate(options, context={"folder": tmp_path})
    refused = refusal(400, "action_request_validation_exception", "index patterns are missing")
    missing = refusal(404, "resource_not_found_exception", "no template")
    search.answers = [missing, refused]

    async with made.open("search") as writer:
        writer._writer._sleep = Clock().sleep  # type: ignore[attr-defined]
        assert await writer.write([outgoing(1)]) == [None]
    assert search.templates.keys() == {"orders"}


async def test_login_and_key_are_sent(search: FakeOpenSearch, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("OPENSEARCH_USERNAME", "metroline")
    (tmp_path / "password").write_text("secret\n")
    monkeypatch.setenv("OPENSEARCH_PASSWORD_FILE", str(tmp_path / "password"))
    await written(search, outgoing(1))
    assert search.headers[-1]["Authorization"] == "Basic bWV0cm9saW5lOnNlY3JldA=="

    monkeypatch.delenv("OPENSEARCH_USERNAME")
    monkeypatch.delenv("OPENSEARCH_PASSWORD_FILE")
    monkeypatch.setenv("OPENSEARCH_API_KEY", "a2V5")
    await written(search, outgoing(1))
    assert search.headers[-1]["Authorization"] == "ApiKey a2V5"


async def test_the_cluster_and_this_client_identify_themselves_by_certificates(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server, client = certified(tmp_path, "search"), certified(tmp_path, "worker")
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=client)
    tls.load_cert_chain(server)
    tls.verify_mode = ssl.CERT_REQUIRED
    async with FakeOpenSearch(tls=tls).running() as search:
        assert "certificate verify failed" in str(await end(search).problem())

        monkeypatch.setenv("OPENSEARCH_CA_FILE", str(server))
        assert await end(search).problem() is not None, "the cluster asks for a certificate"

        monkeypatch.setenv("OPENSEARCH_CERT_FILE", str(client))
        assert await end(search).problem() is None
        assert await written(search, outgoing(1)) == [None]


async def test_a_problem_is_found_without_writing(search: FakeOpenSearch) -> None:
    assert await end(search).problem() is None

    search.answers = [refusal(401, "security_exception", "who are you")]
    assert await end(search).problem() == (
        f"records wait: {search.url} answered 401: security_exception: who are you "
        "(are the OPENSEARCH settings for the login right?)"
    )
    assert search.bulks == []


@pytest.mark.parametrize(
    ("variables", "problem"),
    [
        ({}, "OPENSEARCH_URL is not set"),
        ({"URL": "search:9200"}, "OPENSEARCH_URL: write http://host:port"),
        ({"URL": "https://me:word@search:9200"}, "OPENSEARCH_URL: a user name or a password has no place in it"),
        ({"URL": "http://s", "PASSWORD": "x"}, "OPENSEARCH_PASSWORD needs OPENSEARCH_USERNAME"),
        ({"URL": "http://s", "API_KEY": "x", "USERNAME": "y"}, "OPENSEARCH_API_KEY and OPENSEARCH_USERNAME are both"),
        ({"URL": "http://s", "KEY_FILE": "/none"}, "OPENSEARCH_KEY_FILE needs OPENSEARCH_CERT_FILE"),
        ({"URL": "http://s", "CA_FILE": "/none"}, "OPENSEARCH_CA_FILE: /none cannot be used"),
        ({"URL": "http://s", "USERNAME": "y", "PASSWORD_FILE": "/none"}, "OPENSEARCH_PASSWORD_FILE: there is no"),
    ],
)
def test_settings_that_cannot_be_used_are_named(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], problem: str
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(f"OPENSEARCH_{name}", value)

    with pytest.raises(UnusableAccess) as refused:
        OpenSearchSettings().opensearch_access()

    assert str(refused.value).startswith(problem)
