"""A line that delivers to a real OpenSearch: each record is one document, whatever happens to the cluster."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime
from pathlib import Path
from subprocess import CompletedProcess

import orjson
import pytest

from metroline.agents.gateways.opensearch.end import OpenSearchEnd
from metroline.agents.gateways.outside_end import Delayed, Outgoing, RefusedByEnd
from metroline.routing.meta import Meta
from metroline.routing.outcome import Ending
from tests.support.brokers import Broker
from tests.support.cli import metroline
from tests.support.depot import Depot
from tests.support.search_server import SearchServer, running_opensearch

pytestmark = pytest.mark.long

SERVICES = """
from metroline import service


@service
def weigh(record):
    return record
"""

RULES = """
[[rules]]
after = "source"
to = "weigh"

[[rules]]
after = "weigh"
to = "search"
"""

TEMPLATE = {
    "index_patterns": ["test-*"],
    "version": 1,
    "template": {"mappings": {"properties": {"n": {"type": "long"}, "at": {"type": "date"}}}},
}

MANY = 3_000


@pytest.fixture(scope="module")
def search(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SearchServer]:
    """Run an OpenSearch for all tests of this module."""
    with running_opensearch(tmp_path_factory.mktemp("opensearch")) as server:
        yield server


@pytest.fixture
async def line(kafka_broker: Broker, search: SearchServer, prefix: str, tmp_path: Path) -> AsyncIterator[Depot]:
    """Yield a line that delivers in indices of its own, and end its workers afterwards."""
    depot = Depot(kafka_broker, prefix, tmp_path / "line", tmp_path, variables={"OPENSEARCH_URL": search.url})
    depot.write(SERVICES, RULES)
    (depot.folder / "documents.json").write_bytes(orjson.dumps(TEMPLATE))
    (depot.folder / "line.toml").write_text(
        f'[ends.search]\nkind = "opensearch"\nindex = "{prefix}-%Y.%m"\ntime = "at"\ntemplate = "documents.json"\n'
    )
    try:
        yield depot
    finally:
        depot.end()
        await depot.delete_topics()


def records(numbers: range) -> list[bytes]:
    return [orjson.dumps({"n": number, "at": f"2026-{1 + number % 2:02}-15T00:00:00Z"}) for number in numbers]


def numbers_in(search: SearchServer, prefix: str) -> list[int]:
    """Return the numbers of all documents of a line, sorted, one for each document."""
    return sorted(document["n"] for document in search.documents(f"{prefix}-*").values())


async def test_a_mapping_error_is_a_dead_letter_and_the_other_records_are_documents(
    line: Depot, search: SearchServer
) -> None:
    wrong = orjson.dumps({"n": "no number", "at": "2026-01-15"})
    await line.push([*records(range(20)), wrong, *records(range(20, 40))])
    line.start()

    await line.settled(41)

    assert await line.counts() == {Ending.DELIVERED: 40, Ending.DEAD: 1}
    assert numbers_in(search, line.prefix) == list(range(40))
    assert len(search.documents(f"{line.prefix}-2026.01")) == 20
    [letter] = await line.dead()
    assert letter.outcome is not None
    assert "mapper_parsing_exception" in str(letter.outcome.reason)
    mappings = search.ask("GET", f"{line.prefix}-2026.02/_mapping")[f"{line.prefix}-2026.02"]["mappings"]
    assert mappings["properties"]["at"] == {"type": "date"}, "the template was there before the first document"


async def test_a_cluster_that_freezes_and_crashes_loses_nothing(line: Depot, search: SearchServer) -> None:
    worker = line.start(CHAINING="on")
    await line.push(records(range(MANY)))
    await line.until(lambda: len(search.documents(f"{line.prefix}-*")) > 0)

    search.freeze()
    try:
        await line.push(records(range(MANY, 2 * MANY)))
        await asyncio.sleep(2)
    finally:
        search.thaw()
    await asyncio.to_thread(search.kill)
    try:
        await line.push(records(range(2 * MANY, 3 * MANY)))
        await line.until(lambda: "the end search: records wait: " in worker.child.log.read_text())
        await line.kill(worker)
        line.start(CHAINING="on")
    finally:
        await asyncio.to_thread(search.start)

    await line.settled(3 * MANY, timeout=240)

    assert await line.counts() == {Ending.DELIVERED: 3 * MANY}
    assert numbers_in(search, line.prefix) == list(range(3 * MANY))


async def test_records_wait_while_an_index_takes_none(search: SearchServer, prefix: str) -> None:
    end = OpenSearchEnd.model_validate({"kind": "opensearch", "index": f"{prefix}-%Y", "url": search.url, "id": "n"})
    search.ask("PUT", f"{prefix}-2025")
    search.ask("PUT", f"{prefix}-2025/_settings", {"index.blocks.write": True})

    def outgoing(year: int, number: object) -> Outgoing:
        return Outgoing(
            {"n": number}, f"s-0-{year}", Meta(None, {}, datetime(year, 6, 1, tzinfo=UTC).timestamp(), "s", 0, year)
        )

    async with end.open("search") as writer:
        writing = asyncio.create_task(writer.write([outgoing(2025, 1), outgoing(2024, 2)]))
        while not search.documents(f"{prefix}-2024"):
            await asyncio.sleep(0.1)
        search.ask("PUT", f"{prefix}-2025/_settings", {"index.blocks.write": None})
        assert list(await asyncio.wait_for(writing, 60)) == [None, None]

    assert search.documents(f"{prefix}-2025") == {"1": {"n": 1}}


async def test_of_the_records_with_one_id_the_latest_stays(search: SearchServer, prefix: str) -> None:
    end = OpenSearchEnd.model_validate({"kind": "opensearch", "index": prefix, "url": search.url, "id": "order"})

    def state(text: str, at: float, offset: int, line: int = 0) -> Outgoing:
        meta = Meta(None, {}, at, "s", 0, offset)
        return Outgoing({"order": "a", "state": text}, f"s-0-{offset}.{line}", meta)

    paid, sent, back = state("paid", 1.8e9, 1), state("sent", 1.8e9, 2), state("back", 1.8e9, 2, line=1)
    async with end.open("search") as writer:
        for pack in ([paid, back], [sent], [paid, sent], [back]):
            assert list(await writer.write(pack)) == [None] * len(pack)

    assert search.documents(prefix) == {"a": {"order": "a", "state": "back"}}


async def test_an_index_that_must_not_be_created_is_waited_for(
    search: SearchServer, prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("metroline.agents.gateways.opensearch.bulk_writer.PATIENCE_SECONDS", 0.0)
    meta = Meta(None, {}, None, "s", 0, 1)
    pack = [Outgoing({"": 1}, "s-0-1", meta), Outgoing({"n": 1}, "s-0-2", meta)]
    for index, expected in ((f"uncreated-{prefix}", (Delayed, Delayed)), (prefix, (RefusedByEnd, type(None)))):
        end = OpenSearchEnd.model_validate({"kind": "opensearch", "index": index, "url": search.url})
        async with end.open("search") as writer:
            assert tuple(map(type, await writer.write(pack))) == expected


async def test_each_record_of_a_pack_has_its_own_outcome(search: SearchServer, prefix: str) -> None:
    """Ids that are too long, records that do not fit or are too large, and packs above `http.max_content_length`."""
    search.ask("PUT", prefix, {"mappings": {"properties": {"n": {"type": "long"}}}})
    end = OpenSearchEnd.model_validate({"kind": "opensearch", "index": prefix, "url": search.url, "id": "id"})

    def outgoing(number: int, **fields: object) -> Outgoing:
        meta = Meta(None, {}, 1.8e9, "s", 0, number)
        return Outgoing({"n": number, "id": f"{number}"} | fields, f"s-0-{number}", meta)

    padding = {"text": "x" * 700_000}
    pack = [
        *(outgoing(number, **padding) for number in range(6)),
        outgoing(6, n="no number"),
        outgoing(7, id="é" * 257),
        outgoing(8, text="x" * 3_000_000),
        outgoing(9, id="0", late=True),
        outgoing(10, id="a" * 512),
    ]
    async with end.open("search") as writer:
        answers = list(await writer.write(pack))

    refused = {place: str(answer) for place, answer in enumerate(answers) if answer is not None}
    assert all(isinstance(answers[place], RefusedByEnd) for place in refused)
    assert list(refused) == [6, 7, 8]
    assert "mapper_parsing_exception" in refused[6]
    assert "its id has 514 bytes" in refused[7]
    assert "413" in refused[8]
    found = search.documents(prefix)
    assert set(found) == {*map(str, range(6)), "a" * 512}
    assert found["0"] == {"n": 9, "id": "0", "late": True}, "of two with one id, the later one"


async def test_what_is_wrong_with_an_index_makes_no_dead_letters(
    search: SearchServer, prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("metroline.agents.gateways.opensearch.bulk_writer.PATIENCE_SECONDS", 0.0)
    meta = Meta(None, {}, None, "s", 0, 1)
    stream = {"index_patterns": [f"{prefix}-stream"], "data_stream": {}, "priority": 500}
    search.ask("PUT", f"_index_template/{prefix}", stream)
    search.ask("PUT", f"_data_stream/{prefix}-stream")
    search.ask("PUT", f"{prefix}-closed")
    search.ask("POST", f"{prefix}-closed/_close")
    search.ask("PUT", f"{prefix}-locked", {"settings": {"index.blocks.read_only_allow_delete": True}})
    search.ask("PUT", f"{prefix}-piped", {"settings": {"index.default_pipeline": "missing"}})
    search.ask("PUT", f"{prefix}-routed", {"mappings": {"_routing": {"required": True}}})
    search.ask("PUT", f"{prefix}-1", {"aliases": {f"{prefix}-alias": {}}})
    search.ask("PUT", f"{prefix}-2", {"aliases": {f"{prefix}-alias": {}}})
    kinds = ("stream", "closed", "locked", "piped", "routed", "alias")
    found = {}
    for kind in kinds:
        end = OpenSearchEnd.model_validate({"kind": "opensearch", "index": f"{prefix}-{kind}", "url": search.url})
        async with end.open("search") as writer:
            [found[kind]] = await writer.write([Outgoing({"@timestamp": 1}, "s-0-1", meta)])
    search.ask("PUT", f"{prefix}-locked/_settings", {"index.blocks.read_only_allow_delete": None})
    assert {kind: type(answer) for kind, answer in found.items()} == dict.fromkeys(kinds, Delayed), found


async def test_check_and_doctor_say_what_keeps_records_from_the_cluster(line: Depot, search: SearchServer) -> None:
    await line.create_source()
    rules = str(line.folder / "routes.toml")

    def run(*words: str, **variables: str) -> CompletedProcess[str]:
        return metroline(*words, cwd=line.folder, **line.environment(**variables))

    fine = await asyncio.to_thread(run, "check", rules, "--broker")
    away = await asyncio.to_thread(run, "check", rules, "--broker", OPENSEARCH_URL="http://127.0.0.1:9")
    unset = await asyncio.to_thread(run, "doctor", OPENSEARCH_URL="")

    assert (fine.returncode, away.returncode, unset.returncode) == (0, 1, 1)
    assert "error: the end 'search': records wait: http://127.0.0.1:9: " in away.stdout
    assert "the end 'search': OPENSEARCH_URL is not set" in unset.stdout
