"""Comparisons that are started on a page: on recent records of the line, seen on every worker, until their end."""

from __future__ import annotations

import asyncio
import json
import time
import urllib.error
import urllib.request
from typing import Any

import pytest

from metroline.agents.kafka.topic_admin import TopicAdmin
from metroline.agents.tables.publication import Publication
from metroline.app.local.worker_process import WorkerProcess
from metroline.app.operations.permission import Permission
from metroline.app.operations.rules_topic import publish
from metroline.routing.outcome import Ending
from tests.support.cli import metroline
from tests.support.depot import Depot, numbered

TOKEN = "open sesame"
HEADERS = {"Authorization": f"Bearer {TOKEN}", "Metroline-User": "ada", "Content-Type": "application/json"}
LONG = {"takes": 600.0}
"""A record that keeps a comparison running for as long as a test needs it."""

pytestmark = pytest.mark.parametrize("broker", ["embedded"], indirect=True)  # nothing in it depends on the broker


async def post(worker: WorkerProcess, path: str, body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
    """Return the status and the answer to a request that writes."""

    def send() -> tuple[int, dict[str, Any]]:
        asked = urllib.request.Request(f"{worker.url}{path}", json.dumps(body).encode(), HEADERS)
        try:
            with urllib.request.urlopen(asked, timeout=60.0) as answer:
                return answer.status, json.load(answer)
        except urllib.error.HTTPError as error:
            return error.code, json.load(error)

    return await asyncio.to_thread(send)


async def run_at(worker: WorkerProcess, name: str) -> dict[str, Any]:
    return dict(await asyncio.to_thread(worker.get, f"/compare/{name}/") or {})


async def begun(worker: WorkerProcess, records: int) -> str:
    """Start a comparison of one strategy, and return its id."""
    body = {"records": records, "strategies": ["signpost"], "services_run_again": True}
    status, run = await post(worker, "/compare/start/", body)
    assert status == 200, run
    assert (run["state"], run["by"]) == ("running", "ada over HTTP")
    return str(run["id"])


async def has_state(worker: WorkerProcess, name: str, state: str) -> bool:
    return (await run_at(worker, name)).get("state") == state


async def topics_of(depot: Depot, name: str) -> list[str]:
    return await TopicAdmin(depot.cluster).topics_below(f"metroline-{name}")


async def has_topics(depot: Depot, name: str) -> bool:
    return bool(await topics_of(depot, name))


async def two_workers(depot: Depot) -> tuple[WorkerProcess, WorkerProcess]:
    one, other = (depot.start(METROLINE_TOKEN=TOKEN) for _ in range(2))
    await depot.ready()
    await depot.until(lambda: depot.all_have(1, 2))
    return one, other


@pytest.mark.long
async def test_a_comparison_started_on_a_page_is_seen_on_every_worker(depot: Depot) -> None:
    (depot.folder / "line.toml").write_text(f'[ends.default]\ntopic = "{depot.prefix}.elsewhere"\n')
    one, other = await two_workers(depot)
    empty = await begun(one, 5)
    await depot.until(lambda: has_state(other, empty, "failed"))
    expected = f"the topic {depot.topics.source} holds no records that can be compared"
    assert (await run_at(other, empty))["note"] == expected
    await depot.push(numbered(range(60)))
    await depot.settled(60)
    before = await TopicAdmin(depot.cluster).topics_below(depot.prefix)

    status, refusal = await post(one, "/compare/start/", {"records": 40})
    assert (status, "are called again" in refusal["error"]) == (400, True)

    publication = Publication('[[rules]]\nafter = "source"\ndrop = "none is kept"\n', 1, "a test", time.time())
    current = await publish(depot.cluster, depot.topics, publication, Permission.of_command())
    await depot.until(lambda: depot.all_have(current, 2))
    asked = {"records": 40, "strategies": ["hard_wired", "conductor"], "services_run_again": True}
    status, started = await post(one, "/compare/start/", asked)
    assert (status, started["state"]) == (200, "running")
    name = started["id"]
    await depot.until(lambda: has_state(other, name, "done"))

    found = await run_at(other, name)
    assert (found["records"]["count"], found["asked"]) == (40, 40)
    assert found["records"]["origin"] == f"the topic {depot.topics.source}"
    places = found["records"]["places"].values()
    assert sum(last - first + 1 for first, last in places) == 40
    assert {last for _, last in places} == {14}, "the latest ones"
    assert (found["rules_version"], found["worker"]) == (2, one.url)
    comparison = found["comparison"]
    assert (comparison["records"], comparison["same_outcome"]) == (40, True)
    assert [run["strategy"] for run in comparison["runs"]] == ["hard_wired", "conductor"]
    sums = {(run["sent"], run["delivered"], run["dropped"]) for run in comparison["runs"]}
    assert sums == {(40, 0, 40)}, "by the current rules, and not by those in the file"
    listed = await asyncio.to_thread(other.get, "/compare/")
    assert [(run["id"], run["comparison"]) for run in listed] == [(name, None), (empty, None)]
    assert await topics_of(depot, name) == []
    assert await TopicAdmin(depot.cluster).topics_below(depot.prefix) == before
    assert sum((await depot.counts()).values()) == 60, "the line itself has not seen these records again"
    assert (await depot.counts())[Ending.DELIVERED] == 54

    ended = await asyncio.to_thread(
        metroline, "compare", "--recent", "8", "--strategies", "signpost", cwd=depot.folder, **depot.environment()
    )
    assert ended.returncode == 0, ended.stderr
    assert "kept: the pages of the line's workers show this comparison at /compare/" in ended.stderr

    async def is_listed() -> bool:
        newest = (await asyncio.to_thread(one.get, "/compare/"))[0]
        return (newest["started_from"], newest["records"]["count"]) == ("command", 8)

    await depot.until(is_listed)


async def test_one_comparison_runs_at_a_time_and_any_worker_can_cancel_it(depot: Depot) -> None:
    one, other = await two_workers(depot)
    depot.open_gate()
    await depot.push(numbered([2], **LONG))
    name = await begun(one, 1)
    body = {"records": 1, "services_run_again": True}
    assert await post(other, "/compare/start/", body) == (
        409,
        {
            "error": f"ada over HTTP runs the comparison {name} on this line: wait until it has ended, or cancel it",
        },
    )
    await depot.until(lambda: has_topics(depot, name))
    status, _ = await post(other, "/compare/cancel/", {"run": name})
    assert status == 200
    await depot.until(lambda: has_state(other, name, "cancelled"))
    assert (await run_at(one, name))["note"] == "cancelled by ada over HTTP"
    assert await topics_of(depot, name) == []
    status, refusal = await post(other, "/compare/cancel/", {"run": name})
    assert (status, refusal["error"]) == (400, f"the comparison {name} cannot be cancelled: it is cancelled")


@pytest.mark.long
async def test_the_end_of_a_worker_ends_its_comparison_and_says_so(depot: Depot) -> None:
    one, other = await two_workers(depot)
    await depot.push(numbered([2], **LONG))
    first = await begun(one, 1)
    await depot.until(lambda: has_topics(depot, first))
    await depot.stop(one)
    await depot.until(lambda: has_state(other, first, "interrupted"), watch=False)
    assert (await run_at(other, first))["note"] == "the worker that ran it was stopped"

    killed = depot.start(METROLINE_TOKEN=TOKEN)
    await depot.ready(killed)
    await depot.until(lambda: depot.all_have(1, 2))
    second = await begun(killed, 1)
    await depot.until(lambda: has_topics(depot, second))
    await depot.kill(killed)
    await depot.until(lambda: has_state(other, second, "interrupted"), watch=False)
    assert (await run_at(other, second))["note"] == "the process that ran it has ended"
    assert await topics_of(depot, second), "nobody could delete its topics yet"
    await begun(other, 1)

    async def are_gone() -> bool:
        return not await topics_of(depot, first) and not await topics_of(depot, second)

    await depot.until(are_gone)
