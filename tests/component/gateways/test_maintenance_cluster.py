"""The client of the line `maintenance`: its login, its nodes, and which answers are waited for."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from metroline.agents.http.access import HttpAccess, UnusableAccess
from metroline.agents.lines.maintenance.cluster import ClusterAway, ClusterBusy, ClusterProblem, SearchCluster
from metroline.agents.lines.maintenance.services import Settings
from metroline.app.local.ports import HOST, free_port
from tests.support.certificates import certified
from tests.support.fake_http import FakeHttpServer
from tests.support.fake_opensearch import refusal


@dataclass
class FakeCluster(FakeHttpServer):
    """A cluster that answers by path, and notes what it is asked."""

    answers: dict[str, Callable[[], web.Response]] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)

    async def answer(self, request: web.Request) -> web.StreamResponse:
        self.asked.append(f"{request.method} {request.path}")
        return self.answers.get(request.path, lambda: web.json_response({}))()


@pytest.fixture
async def server() -> AsyncIterator[FakeCluster]:
    async with FakeCluster().running() as running:
        yield running


@asynccontextmanager
async def client(access: HttpAccess) -> AsyncIterator[SearchCluster]:
    cluster = SearchCluster(access)
    try:
        yield cluster
    finally:
        await cluster.close()


async def test_the_login_and_the_certificates_are_those_of_the_settings(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    certificate, own = certified(tmp_path, "search"), certified(tmp_path, "worker")
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=own)
    tls.load_cert_chain(certificate)
    tls.verify_mode = ssl.CERT_REQUIRED
    (tmp_path / "key").write_text("a2V5\n")
    async with FakeCluster(tls=tls).running() as server:
        monkeypatch.setenv("MAINTENANCE_URL", f"http://{HOST}:{free_port()},{server.url}")
        monkeypatch.setenv("MAINTENANCE_API_KEY_FILE", str(tmp_path / "key"))
        async with client(Settings().access()) as cluster:
            with pytest.raises(ClusterAway, match="certificate verify failed"):
                await cluster.settings("logs-*")
        monkeypatch.setenv("MAINTENANCE_CA_FILE", str(certificate))
        monkeypatch.setenv("MAINTENANCE_CERT_FILE", str(own))
        async with client(Settings().access()) as cluster:
            assert await cluster.settings("logs-*") == {}
        assert server.headers[-1]["Authorization"] == "ApiKey a2V5"


def test_settings_that_let_nobody_in_name_the_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MAINTENANCE_PASSWORD", "secret")
    with pytest.raises(UnusableAccess, match=r"^MAINTENANCE_PASSWORD needs MAINTENANCE_USERNAME$"):
        Settings().access()
    assert "secret" not in repr(Settings())


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (refusal(403, "cluster_block_exception", "read-only"), ClusterBusy),
        (refusal(400, "snapshot_in_progress_exception", "it is being snapshotted"), ClusterBusy),
        (refusal(503, "concurrent_snapshot_execution_exception", "another one runs"), ClusterAway),
        (refusal(429, "circuit_breaking_exception", "data too large"), ClusterBusy),
        (refusal(503, "cluster_manager_not_discovered_exception", "no leader"), ClusterAway),
        (lambda: web.Response(status=502, text="<html>Bad Gateway</html>"), ClusterAway),
        (lambda: web.Response(status=200, text="<html>Log in</html>"), ClusterAway),
        (refusal(403, "security_exception", "no permissions"), ClusterProblem),
        (refusal(404, "index_not_found_exception", "no such index"), ClusterProblem),
        (refusal(500, "repository_exception", "it is corrupted"), ClusterProblem),
    ],
)
async def test_what_may_change_by_itself_is_told_from_what_does_not(
    server: FakeCluster, answer: Callable[[], web.Response], error: type[Exception]
) -> None:
    server.answers["/logs-*/_settings"] = answer
    async with client(server.access) as cluster:
        with pytest.raises((ClusterAway, ClusterProblem)) as raised:
            await cluster.settings("logs-*")
    assert type(raised.value) is error


async def test_another_node_is_asked_but_nothing_is_deleted_a_second_time_by_it(server: FakeCluster) -> None:
    server.answers["/logs-1"] = server.answers["/logs-1/_settings"] = refusal(503, "unavailable", "later")
    async with FakeCluster().running() as other:
        async with client(HttpAccess((server.url, other.url))) as cluster:
            with pytest.raises(ClusterAway):
                await cluster.delete_index("logs-1")
        assert other.asked == [], "an index of this name may be a new one by then"
        async with client(HttpAccess((server.url, other.url))) as cluster:
            assert await cluster.settings("logs-1") == {}
        async with client(HttpAccess((f"http://{HOST}:{free_port()}", other.url))) as cluster:
            await cluster.delete_index("logs-1")
        assert other.asked == ["GET /logs-1/_settings", "DELETE /logs-1"], "a node that is down deleted nothing"


async def test_what_writes_to_an_index_is_found(server: FakeCluster) -> None:
    def aliases(**names: Any) -> Callable[[], web.Response]:
        return lambda: web.json_response({"logs-1": {"aliases": names}})

    streams: list[dict[str, Any]] = []
    server.answers["/_data_stream"] = lambda: web.json_response({"data_streams": streams})
    server.answers["/_alias/one"] = lambda: web.json_response({"logs-1": {}})
    server.answers["/_alias/two"] = lambda: web.json_response({"logs-1": {}, "logs-2": {}})
    cases: list[tuple[dict[str, Any], str | None]] = [
        ({}, None),
        ({"one": {}}, "the alias one"),
        ({"two": {}}, None),
        ({"two": {"is_write_index": True}}, "the alias two"),
        ({"one": {"is_write_index": False}}, None),
    ]
    async with client(server.access) as cluster:
        for names, writer in cases:
            server.answers["/logs-1/_alias"] = aliases(**names)
            assert await cluster.written_to("logs-1") == writer
        streams.append({"name": "app", "indices": [{"index_name": "logs-1"}, {"index_name": "logs-2"}]})
        assert await cluster.written_to("logs-1") is None
        streams[0]["indices"].pop()
        assert await cluster.written_to("logs-1") == "the data stream app"
        server.answers["/_data_stream"] = refusal(400, "invalid_index_name_exception", "must not start with '_'")
        assert await cluster.written_to("logs-1") is None, "an Elasticsearch without data streams"
