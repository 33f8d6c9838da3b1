"""The pages of workers that serve them over HTTP, without a broker: who is asked, who is missing, what is said then."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack
from typing import Any, cast

import orjson
import pytest
from aiohttp import ClientResponse, ClientSession, web
from aiohttp.test_utils import BaseTestServer, TestServer
from faust.assignor.client_assignment import ClientAssignment
from faust.web.drivers.aiohttp import Web
from yarl import URL

from metroline.agents.membership.worker import WorkerInfo
from metroline.agents.tables.line_table import LineTable
from metroline.app.factory import create_app
from metroline.app.line_app import LineApp
from metroline.app.settings import Settings
from tests.support.table_entries import block, journey

EVIL = "<script>alert(1)</script>"
HTML = {"Accept": "text/html,application/xhtml+xml"}


class Station:
    """A worker's web server with tables that hold what the test puts there."""

    def __init__(self, app: LineApp, server: BaseTestServer, client: ClientSession) -> None:
        self.app = app
        self.client = client
        self.url = str(server.make_url("")).rstrip("/")
        app.conf.canonical_url = cast(Any, self.url)

    async def get(self, path: str, headers: Mapping[str, str] | None = None, method: str = "GET") -> ClientResponse:
        response = await self.client.request(method, URL(self.url + path, encoded=True), headers=headers)
        await response.read()
        return response

    async def json(self, path: str) -> dict[str, Any]:
        response = await self.get(path)
        assert response.status == 200, await response.text()
        return dict(await response.json())

    @property
    def outcomes(self) -> LineTable:
        assert self.app.line_tables.outcomes is not None
        return self.app.line_tables.outcomes

    def put(self, table: LineTable, entries: dict[str, Any]) -> None:
        table.data.update({key.encode(): orjson.dumps(value) for key, value in entries.items()})


Start = Callable[..., Awaitable[Station]]


@pytest.fixture
async def start() -> AsyncIterator[Start]:
    """Starts the web server of a worker that plays a role."""
    async with AsyncExitStack() as stack:
        client = await stack.enter_async_context(ClientSession())

        async def started(role: str = "all") -> Station:
            app = create_app(Settings(role=role, broker_url="kafka://127.0.0.1:1"))
            app.web.init_server()
            server = await stack.enter_async_context(TestServer(cast(Web, app.web).web_app))
            stack.push_async_callback(app._maybe_close_http_client)
            return Station(app, server, client)

        yield started


async def share(shares: dict[Station | str, set[int]]) -> None:
    """Hands partitions out, as Faust does when a group has agreed."""
    topics = [f"metrobus.table.{name}" for name in ("outcomes", "journeys", "dead_letters")]
    everyone = {
        one if isinstance(one, str) else one.url: {topic: sorted(partitions) for topic in topics}
        for one, partitions in shares.items()
    }
    for station in shares:
        if isinstance(station, Station):
            assignor = cast(Any, station.app.assignor)
            assignor.changelog_distribution = everyone
            assigned = ClientAssignment(actives=everyone[station.url], standbys={})
            assignor._assignment = assigned
            await station.app.on_rebalance_complete.send()


@pytest.fixture
async def silent() -> AsyncIterator[str]:
    """The address of a worker that takes a request and never answers."""
    asked = asyncio.Event()

    async def wait(_: web.Request) -> web.Response:
        await asked.wait()
        return web.Response()

    app = web.Application()
    app.router.add_get("/{path:.*}", wait)
    async with TestServer(app) as server:
        yield str(server.make_url("")).rstrip("/")
        asked.set()


async def two(start: Start) -> tuple[Station, Station]:
    """Two workers that share a table, each with an entry of a partition that it lost."""
    one, other = await start(), await start()
    one.put(one.outcomes, {"0/source/0": block(5, 2), "1/source/0": block(99)})
    other.put(other.outcomes, {"1/source/0": block(7), "0/source/0": block(99)})
    await share({one: {0}, other: {1}})
    return one, other


async def test_a_page_is_the_same_on_every_worker_and_leaves_out_what_a_worker_has_lost(start: Start) -> None:
    one, other = await two(start)
    page = await one.json("/table/outcomes/")
    assert page == await other.json("/table/outcomes/")
    assert page["totals"] == {"delivered": 12, "dropped": 2, "dead": 0}
    assert page["workers"] == sorted([one.url, other.url])
    assert (page["partitions"], page["missing"], page["missing_partitions"]) == ([0, 1], [], [])


async def test_local_asks_nobody(start: Start) -> None:
    one, _ = await two(start)
    page = await one.json("/table/outcomes/?local=true")
    assert page["totals"]["delivered"] == 5
    assert page["workers"] == [one.url]
    assert page["missing_partitions"] == [1]


@pytest.mark.parametrize("path", ["/table/outcomes/", "/table/journeys/", "/table/dead_letters/"])
async def test_who_does_not_answer_is_missing_and_nobody_waits_for_long(
    start: Start, silent: str, path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("metroline.app.views.tables.worker_client.PATIENCE", 0.2)
    one = await start()
    gone = "http://127.0.0.1:1"
    one.put(one.outcomes, {"0/source/0": block(5)})
    await share({one: {0}, silent: {1}, gone: {2}})
    began = time.monotonic()
    page = await one.json(path)
    assert time.monotonic() - began < 1.5
    assert page["missing"] == sorted([silent, gone])
    assert page["missing_partitions"] == [1, 2]
    shown = await (await one.get(path, HTML)).text()
    assert silent in shown
    assert gone in shown


@pytest.mark.parametrize(
    "answer",
    [
        web.Response(text="[1]"),
        web.Response(text="{}"),
        web.Response(text="no JSON"),
        web.Response(status=500),
        web.Response(status=302, headers={"Location": "/"}),
        web.Response(text='{"partitions": [1], "partitions_in_all": 2, "origins": [{}], "blocks": []}'),
    ],
)
async def test_an_answer_that_cannot_be_used_is_no_answer(start: Start, answer: web.Response) -> None:
    app = web.Application()

    async def give(_: web.Request) -> web.Response:
        return web.Response(text=answer.text, status=answer.status, headers=answer.headers)

    app.router.add_get("/{path:.*}", give)
    async with TestServer(app) as server:
        strange = str(server.make_url("")).rstrip("/")
        one = await start()
        await share({one: {0}, strange: {1}})
        assert (await one.json("/table/outcomes/"))["missing"] == [strange]
        response = await one.get("/table/outcomes/1/source/0/")
        assert response.status == 404
        assert (await response.json())["missing"] == [strange]


@pytest.mark.parametrize("key", ["0/source/0/", "0/source/0", "0%2Fsource%2F0/", "0%2fsource%2f0"])
async def test_an_entry_is_found_by_its_key_wherever_it_lies(start: Start, key: str) -> None:
    one, other = await two(start)
    for station in (one, other):
        found = await station.json(f"/table/outcomes/{key}")
        assert found["key"] == "0/source/0"
        assert found["value"] == block(5, 2)
        assert found["settled"] == 7


async def test_an_entry_that_is_not_there_is_not_found(start: Start) -> None:
    one, _ = await two(start)
    for key in ("0/source/9", "1/source/9", "7/source/0", "x", "%FF", "%ED%A0%80", "-1/source/0", "0"):
        response = await one.get(f"/table/outcomes/{key}/")
        assert response.status == 404, key
        assert "missing" not in await response.json()


async def test_an_entry_of_a_worker_that_does_not_answer_may_be_there_all_the_same(start: Start) -> None:
    one = await start()
    await share({one: {0}, "http://127.0.0.1:1": {1}})
    response = await one.get("/table/outcomes/1/source/0/")
    assert response.status == 404
    assert "does not answer" in (await response.json())["error"]


@pytest.mark.parametrize("path", ["/table/nothing/", "/table/nothing/0/a/", f"/table/{EVIL}x/".replace("/s", "%2Fs")])
async def test_an_unknown_table_is_answered_with_those_that_there_are(start: Start, path: str) -> None:
    one = await start()
    response = await one.get(path.replace("<", "%3C").replace(">", "%3E"))
    assert response.status == 404
    assert (await response.json())["tables"] == ["rules", "outcomes", "journeys", "dead_letters"]
    shown = await one.get(path.replace("<", "%3C").replace(">", "%3E"), HTML)
    assert shown.status == 404
    assert 'href="/table/dead_letters/"' in await shown.text()
    assert EVIL not in await shown.text()


def announced(url: str, *parts: str) -> WorkerInfo:
    now = time.time()
    return WorkerInfo(url, "metrobus@arrivals", parts, (), "signpost", url, 1, now, now)


async def test_another_role_asks_the_workers_that_say_they_keep_the_table(start: Start) -> None:
    keeper, router = await start("arrivals"), await start("router")
    keeper.put(keeper.outcomes, {"0/source/0": block(4)})
    await share({keeper: {0}})
    known = router.app.workers._known
    known |= {"keeper": announced(keeper.url, "arrivals"), "no keeper": announced("http://127.0.0.1:1", "router")}
    page = await router.json("/table/outcomes/")
    assert page["totals"]["delivered"] == 4
    assert page["workers"] == [keeper.url]
    assert page["missing"] == []
    assert (await router.json("/table/outcomes/0/source/0/"))["settled"] == 4


@pytest.mark.parametrize("path", ["/table/outcomes/", "/table/journeys/0/1/", "/table/dead_letters/?local=true"])
async def test_another_role_says_which_role_keeps_the_table_when_none_is_alive(start: Start, path: str) -> None:
    router = await start("router")
    response = await router.get(path)
    assert response.status == 404
    assert "arrivals" in (await response.json())["error"]
    tables = (await router.json("/table/"))["tables"]
    assert [table["entries"] for table in tables] == [0, None, None, None]


async def test_the_list_names_tables_roles_and_the_entries_that_are_here(start: Start) -> None:
    one, _ = await two(start)
    listed = await one.json("/table/")
    assert [(table["name"], table["role"], table["entries"]) for table in listed["tables"]] == [
        ("rules", "all", 0),
        ("outcomes", "arrivals", 1),
        ("journeys", "arrivals", 0),
        ("dead_letters", "arrivals", 0),
    ]
    assert all(table["help"] for table in listed["tables"])


PAGES = ["/", "/table/", "/table/rules/", "/table/outcomes/", "/table/journeys/", "/table/dead_letters/"]


@pytest.mark.parametrize("path", PAGES)
async def test_browsers_get_a_page_that_can_load_and_run_nothing(start: Start, path: str) -> None:
    one, other = await two(start)
    ring = one.app.line_tables.journeys
    assert ring is not None
    evil = journey() | {"reason": EVIL, "record": EVIL, "id": EVIL}
    one.put(ring.table, {"0/0": {"number": 0, "entries": [evil]}})
    one.app.workers._known["evil"] = announced(f"javascript:{EVIL}", EVIL)
    for station in (one, other):
        response = await station.get(path, HTML)
        assert response.status == 200
        assert response.content_type == "text/html"
        assert "default-src 'none'" in response.headers["Content-Security-Policy"]
        text = await response.text()
        assert EVIL not in text
        assert "<script" not in text
        assert all(f'href="{page}"' in text for page in PAGES)
    as_json = await one.get(f"{path}?format=json", HTML)
    assert as_json.content_type == "application/json"


async def test_programs_get_the_sign_of_life_that_faust_gives(start: Start) -> None:
    one = await start()
    assert await one.json("/") == {"status": "OK"}


async def test_traffic_is_what_the_meter_says(start: Start) -> None:
    one = await start()
    one.app.bus.metrics.sent("arrivals", 3, 100)
    assert (await one.json("/traffic/"))["traffic"] == {"arrivals": {"messages": 1, "records": 3, "bytes": 100}}


@pytest.mark.parametrize("path", [*PAGES, "/table/outcomes/0/source/0/"])
@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
async def test_pages_are_only_read(start: Start, path: str, method: str) -> None:
    assert (await (await start()).get(path, method=method)).status == 405
