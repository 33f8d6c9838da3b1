"""A stop with a rate keeps to it over all workers, a stop whose calls all fail pauses, and no other is held up."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from metroline.routing.outcome import Ending
from tests.support.depot import Depot, numbered

SERVICES = """
import time
from pathlib import Path

from metroline import service

GATE = Path(__file__).parent / "gate"


@service(rate="20/s")
def limited(record):
    record["called"] = time.time()
    return record


@service(pause_after=4, attempts=2)
async def breaks(record):
    if not GATE.exists():
        raise OSError("away")
    return record


@service
def free(record):
    record["called"] = time.time()
    return record
"""

RULES = "".join(
    f'[[rules]]\nafter = "source"\nmatch = {{ to = "{stop}" }}\nto = "{stop}"\n\n'
    for stop in ("limited", "breaks", "free")
)


@pytest.mark.parametrize("broker", ["kafka"], indirect=True)
async def test_two_workers_share_a_rate_and_other_records_pass(depot: Depot) -> None:
    depot.write(SERVICES, RULES)
    await depot.create_source()
    workers = [depot.start(CHAINING="stops") for _ in range(2)]
    await depot.ready(*workers)
    await depot.until(depot.all_ready)
    await depot.push(numbered(range(100), to="limited"))
    await depot.push(numbered(range(100, 1_100), to="free"))
    await depot.settled(1_100)
    called: dict[str, list[float]] = {"limited": [], "free": []}
    for one in (await depot.journeys()).values():
        assert one.ending is Ending.DELIVERED
        called[one.record["to"]].append(one.record["called"])
    limited = sorted(called["limited"])
    assert limited[-1] - limited[0] > 98 / 20 - 0.2, "20 calls a second in all"
    assert all(later - earlier > 0.9 for earlier, later in zip(limited, limited[24:], strict=False))
    assert max(called["free"]) < limited[-1]


@pytest.mark.parametrize("broker", ["embedded"], indirect=True)  # nothing in it depends on the broker
async def test_a_stop_that_is_paused_says_so_and_no_record_is_dead_when_it_goes_on(depot: Depot) -> None:
    depot.write(SERVICES, RULES)
    await depot.create_source()
    worker = depot.start(CHAINING="stops", SERVICE_BACKOFF="0.2")
    await depot.ready(worker)
    await depot.push(numbered(range(200), to="breaks"))

    async def health() -> Any:
        return await asyncio.to_thread(worker.get, "/health/live") or {}

    async def is_paused() -> bool:
        return "breaks" in (await health()).get("paused", {})

    await depot.until(is_paused)
    assert "all calls failed, the last one with service_error: OSError: away" in (await health())["paused"]["breaks"]
    await depot.push(numbered(range(200, 400), to="free"))
    await depot.settled(200)
    depot.open_gate()
    await depot.settled(400)
    assert await depot.counts() == {Ending.DELIVERED: 400}
    assert not await is_paused()
