"""Workers that serve their pages over HTTP without a broker, from tables that a test fills."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, cast

import orjson
from aiohttp import ClientResponse, ClientSession
from aiohttp.test_utils import BaseTestServer
from faust.assignor.client_assignment import ClientAssignment
from yarl import URL

from metroline.agents.membership.worker import WorkerInfo
from metroline.agents.tables.line_table import LineTable
from metroline.app.line_app import LineApp
from tests.support.table_entries import block

TOKEN = "open sesame"

HTML = {"Accept": "text/html,application/xhtml+xml"}


class WebWorker:
    """A worker's web server and its tables."""

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

    def hear(self, url: str, *parts: str, behind: float = 0.0, source_behind: float = 0.0) -> None:
        """Handle the announcement of a worker with these parts as if it came from the topic of workers."""
        now = time.time()
        announced = WorkerInfo(
            url,
            "metrobus@arrivals",
            parts,
            (),
            "signpost",
            url,
            1,
            now,
            now,
            behind=behind,
            source_behind=source_behind,
        )
        self.app.heartbeat.workers.observe(orjson.dumps(announced.as_json()))


Start = Callable[..., Awaitable[WebWorker]]
"""A function that starts the web server of a worker with a role."""


async def share(shares: dict[WebWorker | str, set[int]]) -> None:
    """Assign partitions, as Faust does when a group has agreed. A worker may be just an address."""
    topics = [f"metrobus.table.{name}" for name in ("outcomes", "journeys", "dead_letters")]
    everyone = {
        one if isinstance(one, str) else one.url: {topic: sorted(partitions) for topic in topics}
        for one, partitions in shares.items()
    }
    for worker in shares:
        if isinstance(worker, WebWorker):
            assignor = cast(Any, worker.app.assignor)
            assignor.changelog_distribution = everyone
            assignor._assignment = ClientAssignment(actives=everyone[worker.url], standbys={})
            await worker.app.on_rebalance_complete.send()


async def two_workers(start: Start, **settings: Any) -> tuple[WebWorker, WebWorker]:
    """Return two workers that share a table, each with an outdated entry of the partition that it lost."""
    one, other = await start(**settings), await start(**settings)
    one.put(one.outcomes, {"0/source/0": block(5, 2), "1/source/0": block(99)})
    other.put(other.outcomes, {"1/source/0": block(7), "0/source/0": block(99)})
    await share({one: {0}, other: {1}})
    return one, other
