"""Schedules on real brokers: each tick has one record, although the worker is killed between two of them."""

from __future__ import annotations

import asyncio
from datetime import datetime

import orjson
import pytest

from metroline.agents.tables.outcomes import read_outcomes_table
from metroline.app.local.worker_process import WorkerProcess
from metroline.routing.journeys.settlement import BLOCK_OFFSETS, SettledBlock
from tests.support.depot import Depot

pytestmark = pytest.mark.long

SERVICES = """
from metroline import service


@service
def note(record):
    return record
"""

RULES = """
[[rules]]
after = "source"
to = "note"
"""

SCHEDULES = """
[schedules.often]
cron = "* * * * *"
timezone = "Europe/Berlin"
missed = "all"
record = { kind = "tick" }
"""


async def settled_ticks(depot: Depot) -> list[int]:
    """Return the ticks that the arrivals have counted, in minutes since the epoch."""
    found = []
    for key, entry in (await read_outcomes_table(depot.cluster, depot.topics)).items():
        _, origin, number = key.decode().split("/")
        if origin == "schedule.often":
            block = SettledBlock.decode(orjson.loads(entry))
            found += [int(number) * BLOCK_OFFSETS + place for place in block.whole]
            assert sum(block.counts.values()) == len(block.whole), "each counts once"
    return sorted(found)


@pytest.mark.parametrize("broker", ["kafka"], indirect=True)
async def test_each_tick_counts_once_and_none_is_missing_although_workers_are_killed(depot: Depot) -> None:
    depot.write(SERVICES, RULES)
    (depot.folder / "line.toml").write_text(SCHEDULES)
    first, second = depot.start(), depot.start()
    await depot.ready(first, second)

    async def has_settled(count: int) -> bool:
        return len(await settled_ticks(depot)) >= count

    await depot.until(lambda: has_settled(1))
    await depot.kill(first)
    await depot.kill(second)
    last = depot.start()
    await depot.ready(last)
    await depot.until(lambda: has_settled(2))
    ticks = await settled_ticks(depot)
    assert ticks == list(range(ticks[0], ticks[-1] + 1)), "each minute, and none twice"
    records = [one for one in await depot.delivered() if one["kind"] == "tick"]
    assert {datetime.fromisoformat(one["scheduled_at"]).timestamp() // 60 for one in records} == set(ticks)
    assert {one["schedule"] for one in records} == {"often"}
    assert await depot.counts() == {}, "the ticks are no records of the source"
    await depot.until(lambda: adds_up(last, len(ticks)))


async def adds_up(worker: WorkerProcess, ticks: int) -> bool:
    """Return whether the pages of a worker have the ticks in their sums, once its figures are up to date."""
    live, table = [await asyncio.to_thread(worker.get, path) or {} for path in ("/api/live", "/table/outcomes/")]
    sums, [schedule] = live["sums"], live["schedules"] or [{}]
    if sums["scheduled"] < ticks or sums["sent"] is None or schedule["result"] != "completed":
        return False
    assert sums["sent"] == sums["scheduled"] == schedule["entered"] == sums["delivered"] + sums["under_way"]
    assert schedule["next"] == schedule["last"] + 60
    assert table["scheduled"] == {"often": table["totals"]["delivered"]}
    assert table["strays"]["total"] == 0
    return True
