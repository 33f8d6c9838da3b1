"""The line `maintenance` on a real OpenSearch: what it saves, deletes and leaves, also when its workers are killed."""

from __future__ import annotations

import urllib.error
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import orjson
import pytest
from aiokafka import TopicPartition

from metroline.agents.http.access import HttpAccess
from metroline.agents.kafka.topic_admin import TopicAdmin
from metroline.agents.lines.maintenance import patience
from metroline.agents.lines.maintenance.cluster import ClusterBusy, ClusterProblem, SearchCluster
from metroline.agents.lines.maintenance.services import Settings
from metroline.routing.addresses import service_address
from metroline.routing.outcome import Ending
from metroline.testing import run_line_async
from tests.support.brokers import Broker
from tests.support.depot import Depot
from tests.support.search_server import SearchServer, running_opensearch

pytestmark = pytest.mark.long

LINE = "metroline.agents.lines.maintenance"
OLD, YOUNG = "logs-2024.01", "logs-2026.11"
DOCUMENTS = 50


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SearchServer]:
    """Run an OpenSearch with a snapshot repository for all tests of this module."""
    folder = tmp_path_factory.mktemp("opensearch")
    with running_opensearch(folder) as running:
        body = {"type": "fs", "settings": {"location": str(folder / "snapshots" / "maintenance")}}
        running.ask("PUT", "_snapshot/maintenance", body)
        yield running


@pytest.fixture
def indices(server: SearchServer) -> None:
    """Create an index that is old, one that is not, and one that is none of the line's, with documents in each."""
    for name in (OLD, YOUNG, "orders"):
        server.ask("DELETE", f"{name}?ignore_unavailable=true")
        settings: dict[str, Any] = {"number_of_replicas": 0, "number_of_shards": 1}
        mappings = {"properties": {"test": {"type": "boolean"}, "@timestamp": {"type": "date"}}}
        server.ask("PUT", name, {"settings": settings, "mappings": mappings})
        for number in range(DOCUMENTS):
            document = {"test": number % 5 == 0, "@timestamp": "2026-01-01T00:00:00Z", "n": number}
            server.ask("PUT", f"{name}/_doc/{number}", document)
        server.ask("POST", f"{name}/_refresh")


class AgedCluster(SearchCluster):
    """A real cluster that says of one index that it is old: nobody can create an index of last year."""

    async def settings(self, pattern: str) -> dict[str, dict[str, str]]:
        found = await super().settings(pattern)
        return {name: one | ({"index.creation_date": "1000"} if name == OLD else {}) for name, one in found.items()}


@pytest.fixture
async def search(server: SearchServer) -> AsyncIterator[SearchCluster]:
    cluster = AgedCluster(HttpAccess((server.url,)))
    yield cluster
    await cluster.close()


async def test_what_is_old_is_saved_and_deleted_and_false_alarms_are_deleted(
    server: SearchServer, search: SearchCluster, indices: None
) -> None:
    settings = Settings(poll_seconds=0.1)
    [journey] = await run_line_async(LINE, {"kind": "maintenance"}, resources={"search": search, "settings": settings})
    assert journey.outcome == "delivered", journey.reason
    assert journey.record["deleted"] == [OLD]
    assert journey.record["false_alarms"] == DOCUMENTS // 5
    assert server.count(YOUNG) == DOCUMENTS - DOCUMENTS // 5
    assert server.count("orders") == DOCUMENTS
    with pytest.raises(urllib.error.HTTPError):
        server.ask("GET", OLD)
    name = journey.record["snapshot"]
    server.ask("POST", f"_snapshot/maintenance/{name}/_restore?wait_for_completion=true", {"indices": OLD})
    assert server.count(OLD) == DOCUMENTS, "what was deleted can be restored"


async def test_a_repository_that_is_missing_deletes_nothing(
    server: SearchServer, search: SearchCluster, indices: None
) -> None:
    settings = Settings(poll_seconds=0.1, repository="nowhere")
    [journey] = await run_line_async(LINE, {"kind": "maintenance"}, resources={"search": search, "settings": settings})
    assert (journey.outcome, journey.stops[-1]) == ("dead", "snapshot")
    assert "repository_missing_exception" in str(journey.reason)
    assert server.count(OLD) == DOCUMENTS


async def test_a_failed_run_is_replayed_from_its_step_once_the_repository_is_there(
    server: SearchServer, search: SearchCluster, indices: None, tmp_path: Path
) -> None:
    settings = Settings(poll_seconds=0.1, repository="later")
    resources = {"search": search, "settings": settings}
    [failed] = await run_line_async(LINE, {"kind": "maintenance"}, resources=resources)
    assert failed.stops[-1] == "snapshot"
    location = str(server.folder / "snapshots" / "later")
    server.ask("PUT", "_snapshot/later", {"type": "fs", "settings": {"location": location}})
    rules = tmp_path / "routes.toml"
    text = (Path(__file__).parents[3] / "agents/lines/maintenance/routes.toml").read_text()
    rest = text[text.rindex("[[rules]]", 0, text.index('after = "snapshot"')) :]
    rules.write_text(f'[[rules]]\nafter = "source"\nto = "snapshot"\n\n{rest}')
    [again] = await run_line_async(LINE, failed.record, resources=resources, rules=rules)
    assert again.outcome == "delivered", again.reason
    assert again.record["deleted"] == [OLD]


async def test_nothing_is_deleted_if_a_shard_cannot_be_saved(
    server: SearchServer, search: SearchCluster, indices: None
) -> None:
    nowhere = {"number_of_replicas": 0, "index.routing.allocation.require._name": "nobody"}
    server.ask("PUT", "logs-away?wait_for_active_shards=0", {"settings": nowhere})
    resources = {"search": search, "settings": Settings(poll_seconds=0.1)}
    try:
        [journey] = await run_line_async(LINE, {"kind": "maintenance"}, resources=resources)
    finally:
        server.ask("DELETE", "logs-away")
    assert journey.outcome == "dead"
    assert journey.stops[-1] in ("snapshot", "watch_snapshot")
    assert "logs-away" in str(journey.reason)
    assert server.count(OLD) == DOCUMENTS


def _recreate(server: SearchServer) -> None:
    server.ask("DELETE", OLD)
    server.ask("PUT", OLD, {"settings": {"number_of_replicas": 0}})


CHANGES: dict[str, tuple[Callable[[SearchServer], object], str]] = {
    "it is another one": (_recreate, "another index of this name"),
    "late documents": (lambda server: server.ask("PUT", f"{OLD}/_doc/late", {"n": 1}), "was written to"),
    "a document was deleted": (lambda server: server.ask("DELETE", f"{OLD}/_doc/1"), "was written to"),
    "closed": (lambda server: server.ask("POST", f"{OLD}/_close"), "is closed"),
    "read-only": (lambda server: server.ask("PUT", f"{OLD}/_settings", {"index.blocks.read_only": True}), "read-only"),
    "write index": (
        lambda server: server.ask("POST", "_aliases", {"actions": [{"add": {"index": OLD, "alias": "logs"}}]}),
        "the alias logs writes to it",
    ),
}


@pytest.mark.parametrize("change", CHANGES)
async def test_an_old_index_that_is_changed_between_snapshot_and_deletion_stays(
    server: SearchServer, search: SearchCluster, indices: None, monkeypatch: pytest.MonkeyPatch, change: str
) -> None:
    look, (apply, reason) = search.snapshot, CHANGES[change]
    changed: list[object] = []

    async def then_changed(repository: str, name: str) -> dict[str, Any] | None:
        found = await look(repository, name)
        if found is not None and found["state"] == "SUCCESS" and not changed:
            changed.append(apply(server))
        return found

    monkeypatch.setattr(search, "snapshot", then_changed)
    settings = Settings(poll_seconds=0.1)
    [journey] = await run_line_async(LINE, {"kind": "maintenance"}, resources={"search": search, "settings": settings})
    try:
        assert journey.outcome == "delivered", journey.reason
        assert journey.record["deleted"] == []
        assert reason in journey.record["not_deleted"][OLD]
        assert await search.index(OLD) is not None
    finally:
        server.ask("PUT", f"{OLD}/_settings", {"index.blocks.read_only": None})


async def test_the_write_index_of_a_data_stream_stays_and_its_older_ones_are_deleted(
    server: SearchServer, search: SearchCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    template = {"index_patterns": ["events-*"], "data_stream": {}, "priority": 500}
    server.ask("PUT", "_index_template/events", template | {"template": {"settings": {"number_of_replicas": 0}}})
    server.ask("PUT", "_data_stream/events-app")
    server.ask("POST", "events-app/_doc?refresh=true", {"@timestamp": "2026-01-01T00:00:00Z"})
    server.ask("POST", "events-app/_rollover")
    list_all = search.settings

    async def all_old(pattern: str) -> dict[str, dict[str, str]]:
        return {name: one | {"index.creation_date": "1000"} for name, one in (await list_all(pattern)).items()}

    monkeypatch.setattr(search, "settings", all_old)
    resources = {"search": search, "settings": Settings(poll_seconds=0.1, pattern="events-*")}
    [journey] = await run_line_async(LINE, {"kind": "maintenance"}, resources=resources)
    assert journey.outcome == "delivered", journey.reason
    assert journey.record["deleted"] == [".ds-events-app-000001"]
    assert journey.record["not_deleted"] == {".ds-events-app-000002": "the data stream events-app writes to it"}


async def test_two_runs_at_once_delete_each_index_once_and_both_end_well(
    server: SearchServer, search: SearchCluster, indices: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(patience, "BUSY_SECONDS", 0.2)
    resources = {"search": search, "settings": Settings(poll_seconds=0.1)}
    runs = [{"kind": "maintenance", "by": name} for name in ("schedule", "hand")]
    journeys = await run_line_async(LINE, runs, resources=resources)
    assert [one.outcome for one in journeys] == ["delivered"] * 2, [one.reason for one in journeys]
    assert await search.index(OLD) is None
    assert server.count(YOUNG) == DOCUMENTS - DOCUMENTS // 5


async def test_a_cluster_that_is_read_only_for_a_while_is_waited_for(
    server: SearchServer, search: SearchCluster, indices: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    refused: list[str] = []
    written_to, start_deletion, task = search.written_to, search.start_deletion, search.task

    def block(value: bool | None) -> None:
        server.ask("PUT", "_cluster/settings", {"persistent": {"cluster.blocks.read_only": value}})

    async def looking(name: str) -> str | None:
        block(None if len(refused) >= 3 else True)
        try:
            return await written_to(name)
        except ClusterBusy as error:
            refused.append(str(error))
            raise

    async def beginning(indices: Sequence[str], query: Any) -> list[str]:
        block(len(refused) < 4 or None)  # the first task cannot store its result
        return await start_deletion(indices, query)

    async def asking(name: str) -> dict[str, Any]:
        try:
            return await task(name)
        except ClusterProblem as problem:
            refused.append(str(problem))
            raise

    monkeypatch.setattr(search, "written_to", looking)
    monkeypatch.setattr(search, "start_deletion", beginning)
    monkeypatch.setattr(search, "task", asking)
    resources = {"search": search, "settings": Settings(poll_seconds=0.1)}
    try:
        [journey] = await run_line_async(LINE, {"kind": "maintenance"}, resources=resources)
    finally:
        block(None)
    assert journey.outcome == "delivered", journey.reason
    assert len(refused) >= 4
    assert journey.record["deleted"] == [OLD]
    assert server.count(YOUNG) == DOCUMENTS - DOCUMENTS // 5


SERVICES = f"""
from metroline import resource
from metroline.agents.lines.maintenance.cluster import SearchCluster
from metroline.agents.lines.maintenance.services import *
from metroline.agents.lines.maintenance.services import Settings


class AgedCluster(SearchCluster):
    async def settings(self, pattern):
        found = await super().settings(pattern)
        if "{OLD}" in found:
            found["{OLD}"]["index.creation_date"] = "1000"
        return found


@resource
async def search(settings: Settings):
    cluster = AgedCluster(settings.access())
    yield cluster
    await cluster.close()
"""

KILLED_AT = ("choose", "snapshot", "watch_snapshot", "delete_indices", "delete_false_alarms", "merge")


async def test_a_worker_that_is_killed_at_each_step_harms_nothing(
    server: SearchServer, indices: None, kafka_broker: Broker, prefix: str, tmp_path: Path
) -> None:
    variables = {
        "SCHEDULES": "off",
        "SERVICE_ATTEMPTS": "5",
        "MAINTENANCE_URL": server.url,
        "MAINTENANCE_POLL_SECONDS": "0.5",
    }
    depot = Depot(kafka_broker, prefix, tmp_path / "line", tmp_path, partitions=1, variables=variables)
    depot.write(SERVICES, (Path(__file__).parents[3] / "agents/lines/maintenance/routes.toml").read_text())

    async def reached(stop: str) -> bool:
        place = TopicPartition(depot.topics.at(service_address(stop)), 0)
        return (await TopicAdmin(depot.cluster).high_watermarks([place]))[place] > 0

    before = {one["snapshot"] for one in server.ask("GET", "_snapshot/maintenance/_all")["snapshots"]}
    try:
        await depot.push([b'{"kind": "maintenance"}'])
        for stop in KILLED_AT:
            worker = depot.start()
            await depot.ready(worker)
            await depot.until(lambda stop=stop: reached(stop))  # type: ignore[misc]
            await depot.kill(worker)
        await depot.ready(depot.start())
        await depot.settled(1)
        assert (await depot.counts())[Ending.DELIVERED] == 1, await depot.letters()
        [record] = {orjson.dumps(one): one for one in await depot.delivered()}.values()
    finally:
        depot.end()
    assert record["deleted"] == [OLD]
    assert server.count(YOUNG) == DOCUMENTS - DOCUMENTS // 5
    assert server.count("orders") == DOCUMENTS
    found = server.ask("GET", "_snapshot/maintenance/_all")["snapshots"]
    [made] = [one for one in found if one["snapshot"] not in before and OLD in one["indices"]]
    assert (made["snapshot"], made["state"]) == (record["snapshot"], "SUCCESS")
    server.ask("POST", f"_snapshot/maintenance/{made['snapshot']}/_restore?wait_for_completion=true", {"indices": OLD})
    assert server.count(OLD) == DOCUMENTS, "what was deleted can be restored"
