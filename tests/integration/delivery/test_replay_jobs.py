"""Replay jobs on a real line: in steps, stopped by themselves, steered by people, and gone on with after a kill -9."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from typing import Any

import orjson
import pytest

from metroline.app.local.worker_process import WorkerProcess
from metroline.app.operations.replay_jobs import JobBoard, job_as_json
from metroline.routing.outcome import Ending
from tests.support.brokers import KAFKA_FIRST
from tests.support.cli import metroline
from tests.support.delivered import delivered_ids
from tests.support.depot import Depot

MANY = 300


async def asked(depot: Depot, *words: str, code: int = 0) -> Any:
    """Return the JSON output of a command about dead letters."""
    done = await asyncio.to_thread(
        metroline, "dead-letters", *words, "--json", "-", cwd=depot.folder, **depot.environment()
    )
    assert done.returncode == code, done.stderr
    return json.loads(done.stdout)


async def job_now(depot: Depot, name: str) -> dict[str, Any]:
    board = JobBoard(depot.cluster, depot.topics)
    try:
        return job_as_json(await board.job(name))
    finally:
        await board.close()


async def carrier(depot: Depot) -> WorkerProcess:
    """Return the worker that carries out the jobs."""
    board = JobBoard(depot.cluster, depot.topics)
    try:
        claim = (await board.jobs()).claim
    finally:
        await board.close()
    assert claim is not None
    [found] = [worker for worker in depot.workers if claim.worker.rstrip("/").endswith(f":{worker.port}")]
    return found


async def died(depot: Depot, *workers: str) -> str:
    """Let a line fail at `MANY` records, as long as there is no file `gate`; return the group of these dead letters."""
    await depot.create_source()
    await depot.ready(*[depot.start(strategy) for strategy in workers])
    await depot.push([orjson.dumps({"n": 2, "fails": True})] * MANY)
    await depot.settled(MANY)
    [group] = await asked(depot, "list")
    assert group["count"] == MANY
    return str(group["group"])


async def begun(depot: Depot, group: str, *options: str) -> str:
    started = await asked(depot, "replay", "--group", group, "--detach", *options)
    return str(started["job"])


async def replayed_once(depot: Depot) -> None:
    """Assert that each record was delivered, once."""
    stand = Counter([line async for line in delivered_ids(depot.cluster, depot.topics.delivered)])
    assert (len(stand), set(stand.values())) == (MANY, {1})


@KAFKA_FIRST
async def test_a_job_stops_while_the_cause_is_there_and_goes_on_when_it_is_gone(depot: Depot) -> None:
    group = await died(depot, "signpost")
    stopped = await asked(depot, "replay", "--group", group, "--reason", "let us see", code=1)
    assert (stopped["state"], stopped["replayed"], stopped["dead_again"]) == ("stopped", 1, 1)
    assert stopped["note"] == "1 of 1 replayed dead letters are dead again"

    depot.open_gate()
    resumed = await asked(depot, "resume", stopped["job"], "--reason", "mended")
    assert resumed["state"] == "running"
    await depot.until(lambda: is_in(depot, stopped["job"], "done"))
    told = await job_now(depot, stopped["job"])
    assert (told["ended"], told["dead_again"], told["under_way"]) == (MANY - 1, 1, 0)
    [again] = await asked(depot, "list")
    assert again["count"] == 1, "the one that was dead again is none of the job's letters"
    [letter] = await asked(depot, "show", "--group", again["group"])
    assert letter["replays"][0]["by"].endswith(f"(job {stopped['job']}: let us see)")
    await asked(depot, "replay", letter["id"])
    await depot.until(lambda: has(depot, {Ending.DELIVERED: MANY}))
    await replayed_once(depot)


@pytest.mark.long
async def test_a_job_outlives_the_worker_that_carries_it_out(depot: Depot) -> None:
    group = await died(depot, "signpost", "signpost")
    depot.open_gate()
    job = await begun(depot, group, "--ramp", "1,10,50", "--rate", "20")
    await depot.until(lambda: has_got_on(depot, job))
    await depot.kill(await carrier(depot))
    left = await job_now(depot, job)
    assert (left["state"], left["replayed"] < MANY) == ("running", True), "it was at work"
    await depot.ready(depot.start("signpost"))
    await depot.until(lambda: is_in(depot, job, "done"))
    told = await job_now(depot, job)
    assert (told["total"], told["replayed"], told["ended"], told["left_out"]) == (MANY, MANY, MANY, {})
    stand = [line async for line in delivered_ids(depot.cluster, depot.topics.delivered)]
    assert len(set(stand)) == MANY  # of those in the worker that was killed, some may be written again


@pytest.mark.parametrize("broker", ["embedded"], indirect=True)  # nothing in it depends on the broker
async def test_a_job_is_paused_resumed_and_cancelled_and_no_letter_is_in_two(depot: Depot) -> None:
    group = await died(depot, "signpost")
    depot.open_gate()
    job = await begun(depot, group, "--ramp", "5", "--rate", "2")  # it lasts longer than any order takes
    await depot.until(lambda: has_got_on(depot, job))
    await asked(depot, "pause", job, "--reason", "wait a moment")
    await depot.until(lambda: rests(depot, job))
    paused = await job_now(depot, job)
    assert (paused["state"], paused["note"], 0 < paused["replayed"] < MANY) == ("paused", "wait a moment", True)

    second = await asked(depot, "replay", "--group", group, "--ramp", "1", code=1)
    assert (second["state"], second["replayed"]) == ("done", 0)
    assert second["left_out"] == {f"in the replay job {job}": MANY - paused["replayed"]}

    assert (await job_now(depot, job))["replayed"] == paused["replayed"]
    await asked(depot, "cancel", job)
    await depot.until(lambda: is_in(depot, job, "cancelled"))
    third = await asked(depot, "replay", "--group", group, "--ramp", "1000", "--rate", "1000")
    assert (third["state"], third["ended"]) == ("done", MANY - paused["replayed"])
    await depot.until(lambda: has(depot, {Ending.DELIVERED: MANY}))
    await replayed_once(depot)


async def is_in(depot: Depot, job: str, state: str) -> bool:
    return bool((await job_now(depot, job))["state"] == state)


async def has_got_on(depot: Depot, job: str) -> bool:
    told = await job_now(depot, job)
    return bool(told["replayed"] > 1 or told["state"] == "done")


async def rests(depot: Depot, job: str) -> bool:
    """Return whether a worker has read that a job is paused, and everything that it sent has its outcome."""
    told = await job_now(depot, job)
    return bool(told["state"] == "paused" and told["under_way"] == 0 and told["updated"] >= told["orders"][-1]["at"])


async def has(depot: Depot, counts: dict[Ending, int]) -> bool:
    return await depot.counts() == counts
