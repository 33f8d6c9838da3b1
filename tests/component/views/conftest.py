"""Workers that serve their pages, and one that never answers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import cast

import pytest
from aiohttp import ClientSession, web
from aiohttp.test_utils import TestServer
from faust.web.drivers.aiohttp import Web

from metroline.app.factory import create_app
from metroline.app.settings import Settings
from tests.support.web_worker import Start, WebWorker


@pytest.fixture
async def start() -> AsyncIterator[Start]:
    """Yield a function that starts the web server of a worker with a role."""
    async with AsyncExitStack() as stack:
        client = await stack.enter_async_context(ClientSession())

        async def started(role: str = "all") -> WebWorker:
            app = create_app(Settings(role=role, broker_url="kafka://127.0.0.1:1"))
            app.web.init_server()
            server = await stack.enter_async_context(TestServer(cast(Web, app.web).web_app))
            stack.push_async_callback(app._maybe_close_http_client)
            stack.push_async_callback(app.pulses.close)
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
