"""Garbage and forgeries on every topic of a line, its tables included, while records flow: `make fuzz`."""

from __future__ import annotations

import asyncio
import os
import time
import urllib.error
import urllib.request
from dataclasses import replace

import pytest

from metroline.app.local.worker_process import WorkerProcess
from metroline.app.operations.desk import Desk
from tests.support.depot import Depot
from tests.support.forgeries.good_records import GoodRecords
from tests.support.forgeries.writer import Forger, forgers
from tests.support.health import health, metrics

FORGERIES = int(os.environ.get("FORGERIES") or 0)
"""Number of forgeries in a round of `make fuzz`, whose seed is another each time; 0 for the short run."""

SEED = os.environ.get("SEED")

SHORT_FORGERIES, SHORT_SEED = 700, 14

ROUNDS, RECORDS = (4, 200) if FORGERIES else (2, 60)
"""Rounds of forgeries, and good records in each."""

MAX_RESIDENT_BYTES = 400 * 1024 * 1024
"""Memory that a worker may take; one that rests takes a third of it."""

PAGES = (
    "/",
    "/compare/",
    "/dead-letters/",
    "/dead-letters/jobs/",
    "/dead-letters/journal/?id=source-0-1",
    "/journal/",
    "/journeys/",
    "/table/",
    "/table/outcomes/",
    "/table/journeys/",
    "/table/dead_letters/",
    "/table/rules/",
    "/metrics",
)

SCHEDULE = """
[schedules.nightly]
cron = "0 3 1 1 *"
record = { n = 1 }
"""


@pytest.fixture
def seed() -> int:
    return int(SEED) if SEED else (time.time_ns() % 1_000_000 if FORGERIES else SHORT_SEED)


@pytest.mark.timeout(900)
@pytest.mark.parametrize("broker", ["kafka"], indirect=True)
@pytest.mark.long
async def test_forgeries_on_every_topic_end_block_and_silence_no_worker(depot: Depot, seed: int) -> None:
    forgeries = FORGERIES or SHORT_FORGERIES
    print(f"\nSEED={seed} FORGERIES={forgeries}; logs in {depot.logs}", flush=True)
    if seed % 2:
        depot.variables["CLUSTER_KEY"] = "a key of these workers"
    depot.folder.joinpath("line.toml").write_text(SCHEDULE)
    topics = replace(depot.topics, has_schedules=True)
    strategies = ("conductor", "map_maker")
    for strategy in strategies:
        depot.start(strategy, CHAINING="stops")
    await depot.until(depot.all_ready)
    good = GoodRecords(depot, seed)
    forger = Forger(depot.broker.bootstrap, forgers(topics, depot.partitions, ("weigh", "crane", "shelf")), seed)
    for number in range(ROUNDS):
        good.send(RECORDS // 2)
        await asyncio.to_thread(forger.write, forgeries)
        good.send(RECORDS // 2)
        if number < ROUNDS - 1:  # one recovers its tables, with the forgeries in them
            assert await depot.stop(depot.workers[0]) == 0
            depot.start(strategies[number % 2], CHAINING="stops")
        await depot.until(good.all_settled, 300)
    print(f"{sum(forger.written.values())} forgeries, {len(good.sent)} records", flush=True)

    assert not await good.wrong()
    await depot.until(depot.all_ready, 120)
    for worker in depot.workers:
        await check(worker)
    good.send(20)
    await depot.until(good.all_settled, 120)
    assert [worker.child.exit_code for worker in depot.workers] == [None, None]
    desk = Desk(depot.cluster, depot.topics)
    assert await desk.groups()
    await desk.close()
    logs = [log.read_text() for log in sorted(depot.logs.glob("worker-*.log"))]
    assert not [line for log in logs for line in log.splitlines() if "Traceback" in line or "handled again" in line]
    for worker in list(depot.workers):
        assert await depot.stop(worker) == 0


async def check(worker: WorkerProcess) -> None:
    """Assert that a worker says that it is live and ready, shows its pages, and has not grown."""
    for path in ("/health/live", "/health/ready"):
        said = await asyncio.to_thread(health, worker, path)
        assert said is not None
        assert said.status == 200, said
    for path in PAGES:
        assert await asyncio.to_thread(status, worker, path) == 200, path
    figures = await asyncio.to_thread(metrics, worker)
    assert figures["process_resident_memory_bytes",] < MAX_RESIDENT_BYTES
    assert sum(count for name, count in figures.items() if name[0] == "metroline_foreign_messages_total") > 0


def status(worker: WorkerProcess, path: str) -> int:
    try:
        with urllib.request.urlopen(f"{worker.url}{path}", timeout=20.0) as answer:
            answer.read()
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code
