"""The live figures of a line that runs: they move, add up, and are those of all its workers."""

from __future__ import annotations

import asyncio
import os
import signal
from typing import Any

from metroline.app.local.worker_process import WorkerProcess
from tests.support.brokers import KAFKA_FIRST
from tests.support.depot import Depot, numbered


async def live(worker: WorkerProcess) -> dict[str, Any]:
    """Return the live figures as a worker answers with them; empty while it does not answer."""
    return await asyncio.to_thread(worker.get, "/api/live") or {}


def waiting_at(found: dict[str, Any], address: str) -> int:
    """Return the records that wait at a place; 0 while no worker has told of it."""
    return int(found.get("places", {}).get(address, {}).get("waiting", 0))


async def test_every_worker_tells_the_figures_of_all(depot: Depot) -> None:
    services = ",".join(f"service:{stop}" for stop in ("crane", "shelf", "weigh"))
    one = depot.start(role="on-ramp,router,arrivals", CLUSTER_KEY="a key of these workers")
    other = depot.start(role=services, CLUSTER_KEY="a key of these workers")
    await depot.ready()
    await depot.push(numbered([*range(40), "refused"]))
    await depot.settled(41)

    async def told(worker: WorkerProcess) -> dict[str, Any]:
        """Return the figures once the last records are in them."""
        found: dict[str, Any] = {}

        async def is_told() -> bool:
            nonlocal found
            found = await live(worker)
            if not found or len(found["workers"]) < 2:
                return False
            settled = sum(found["sums"][ending] or 0 for ending in ("delivered", "dropped", "dead"))
            return bool(settled == sum(track["records"] for track in found["tracks"] if track["is_end"]) == 41)

        await depot.until(is_told)
        return found

    for worker in (one, other):
        found = await told(worker)
        assert found["sums"] | {"why_unknown": ""} == {
            **{"sent": 41, "delivered": 36, "dropped": 4, "dead": 1, "lost": 0, "under_way": 0},
            **{"unaccounted": 0, "partitions": 4, "why_unknown": "", "scheduled": 0},
        }
        assert {(track["start"], track["end"]): track["records"] for track in found["tracks"]} == {
            ("source", "weigh"): 41,
            ("weigh", "crane"): 20,
            ("weigh", "shelf"): 16,
            ("crane", "shelf"): 20,
            ("shelf", "delivered"): 36,
            ("weigh", "dropped"): 4,
            ("weigh", "dead"): 1,
        }
        assert {rule["rule"]: rule["count"] for rule in found["rules"]}["heavy ones need the crane"] == 20
        assert [(one["stop"], one["cause"], one["count"]) for one in found["failures"]] == [
            ("weigh", "service_error", 1)
        ]
        assert found["places"]["service.weigh"]["workers"] == 1
        assert found["places"]["service.weigh"]["p50"] is not None
        assert {one["version"] for one in found["workers"]} == {1}
        assert len({one["code"] for one in found["workers"]}) == 1


@KAFKA_FIRST
async def test_what_waits_is_seen_and_a_worker_that_stands_still_makes_figures_stale(depot: Depot) -> None:
    one = depot.start(role="on-ramp,router,arrivals")
    other = depot.start(role="service:crane,service:shelf,service:weigh")
    await depot.ready()
    await depot.push(numbered(range(20), waits=True))

    async def waits() -> bool:
        found = await live(one)
        return waiting_at(found, "service.weigh") > 0 and found["places"]["service.weigh"]["since"] is not None

    await depot.until(waits)
    os.kill(other.child.pid, signal.SIGSTOP)
    try:

        async def is_stale() -> bool:
            found = await live(one)
            return bool(found) and found["is_stale"] and "told nothing" in found["verdict"]["text"]

        await depot.until(is_stale)
        found = await live(one)
        assert [worker["is_stale"] for worker in found["workers"]] == [False, True]
        assert found["places"]["service.weigh"]["is_stale"]
        assert not found["places"]["source"]["is_stale"]
    finally:
        os.kill(other.child.pid, signal.SIGCONT)
    depot.open_gate()
    await depot.settled(20)
    assert await depot.stop(other) == 0

    async def has_left() -> bool:
        found = await live(one)
        return bool(found) and [worker["parts"] for worker in found["workers"]] == [["arrivals", "on-ramp", "router"]]

    await depot.until(has_left)
    assert "left" in {event["kind"] for event in (await live(one))["events"]}
