"""Workers that serve their pages, and one that never answers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from itertools import count
from typing import Any, cast

import orjson
import pytest
from aiohttp import ClientSession, web
from aiohttp.test_utils import TestServer
from aiohttp.web import TCPSite
from faust.web.drivers.aiohttp import Web

from metroline.agents.tables.live_rules import LiveRules
from metroline.app.factory import create_app
from metroline.app.line_app import LineApp
from metroline.app.settings import Settings
from metroline.app.views.access.doors import ACCESS
from metroline.app.web_server.connections import Bounds, Runner
from metroline.app.web_server.guesses import Guesses
from metroline.routing.messages.segment import Segment
from metroline.routing.outcome import Cause, Outcome
from metroline.routing.strategies import RuleTables
from tests.support.dead_letter_topic import counted, dead_letters_of, serve_dead_letters
from tests.support.live_figures import Told
from tests.support.table_entries import block, journey
from tests.support.web_worker import TOKEN, Start, WebWorker


@pytest.fixture
async def start() -> AsyncIterator[Start]:
    """Yield a function that starts the web server of a worker with a role and further settings."""
    async with AsyncExitStack() as stack:
        client = await stack.enter_async_context(ClientSession())

        async def started(role: str = "all", **settings: Any) -> WebWorker:
            app = create_app(Settings(role=role, broker_url="kafka://127.0.0.1:1", **settings))
            app.web.init_server()
            server = await stack.enter_async_context(TestServer(cast(Web, app.web).web_app))
            stack.push_async_callback(app._maybe_close_http_client)
            stack.push_async_callback(app.pulses.close)
            stack.push_async_callback(app.journal.close)
            return WebWorker(app, server, client)

        yield started


@pytest.fixture
async def silent() -> AsyncIterator[str]:
    """Yield the address of a worker that accepts requests and never answers."""
    asked = asyncio.Event()

    async def wait(_: web.Request) -> web.Response:
        await asked.wait()
        return web.Response()

    app = web.Application()
    app.router.add_get("/{path:.*}", wait)
    async with TestServer(app) as server:
        yield str(server.make_url("")).rstrip("/")
        asked.set()


SEGMENTS = [
    Segment((number,), (b'{"n":%d}' % number,), 1.0, outcome=Outcome.dead(Cause.EXPIRED, "too old"), hops=1)
    for number in range(3)
]


@pytest.fixture
async def address(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[tuple[LineApp, str, int]]:
    """Yield a worker with entries in all of its tables, and the address of its web server."""
    serve_dead_letters(monkeypatch, dead_letters_of(SEGMENTS), [counted(SEGMENTS)])
    app = create_app(Settings(broker_url="kafka://127.0.0.1:1", metroline_token=TOKEN))
    table = app.live_rules.from_file
    monkeypatch.setattr(LiveRules, "rule_tables", RuleTables(table, table))
    outcomes, latest = app.line_tables.outcomes, app.line_tables.journeys
    assert outcomes is not None
    assert latest is not None
    outcomes.data.update({b"0/source/0": orjson.dumps(block(5))})
    latest.table.data.update({b"0/0": orjson.dumps({"number": 0, "entries": [journey()]})})
    app.pulses = cast(Any, Told())
    cast(Web, app.web).web_app[ACCESS].guesses = Guesses(count(0.0, 60.0).__next__)  # a minute between two looks
    app.web.init_server()
    runner = Runner(cast(Web, app.web).web_app, Bounds())
    await runner.setup()
    await TCPSite(runner, "127.0.0.1", 0).start()
    yield app, *runner.addresses[0]
    await runner.cleanup()
    await app._maybe_close_http_client()
