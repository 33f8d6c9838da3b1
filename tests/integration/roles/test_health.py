"""A worker says that it is ready only while it is, and asks for a restart only when that would help."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from metroline.app.local.worker_process import WorkerProcess
from metroline.routing.outcome import Ending
from tests.support.brokers import Broker, running_node
from tests.support.depot import RULES, SERVICES, Depot, check_ways, numbered
from tests.support.health import Health, health, metrics

MAX_LINES = 150
"""Lines that a worker may log about a broker that is away for some ten seconds, and about its return."""

STUCK = """
import metroline.agents.kafka.stall_watch as watch
from metroline.agents.kafka.group_thread import GroupThread

watch.CHECK_SECONDS, watch.STALL_SECONDS = 0.5, 1.0
RESUME = GroupThread.resume


def resume_others(self, partitions, client):
    RESUME(self, [one for one in partitions if not (one.topic.endswith(".source") and one.partition == 1)], client)


GroupThread.resume = resume_others
"""

UNRECOVERED = """
from metroline.agents.kafka.consumer import KafkaConsumer

TAKE = KafkaConsumer.take


async def take_behind_the_gate(self, seconds):
    if self.name != "bus" or GATE.exists():
        return await TAKE(self, seconds)
    await asyncio.sleep(0.05)
    return {}


KafkaConsumer.take = take_behind_the_gate
"""
"""Reads no changelog before the gate is open, as if there were much to read."""

PAUSED = """
import asyncio

import metroline.agents.kafka.stall_watch as watch
from metroline.agents.on_ramp import OnRamp

watch.CHECK_SECONDS, watch.STALL_SECONDS = 0.5, 1.0


async def wait_forever(self):
    await asyncio.Event().wait()


OnRamp.may_take = wait_forever
"""


async def test_a_worker_is_ready_once_it_has_rules_tables_groups_and_a_broker(depot: Depot) -> None:
    await depot.create_source()
    worker = depot.start()
    found: list[Health] = []

    async def is_ready() -> bool:
        answer = await asyncio.to_thread(health, worker, "/health/ready")
        if answer is not None:
            found.append(answer)
        return answer is not None and answer.status == 200

    await depot.until(is_ready)

    assert set(found[-1].conditions) == {"rules", "tables", "group", "on_ramp", "waiting_rooms", "broker", "formats"}
    assert set(found[-1].conditions.values()) == {"ok"}
    assert all(one.failing for one in found[:-1]), "not ready is explained"
    assert (await asyncio.to_thread(health, worker, "/")) == found[-1]
    live = await asyncio.to_thread(health, worker, "/health/live")
    assert live == Health(200, {"reading": "ok"})


@pytest.mark.parametrize("broker", ["kafka"], indirect=True)
async def test_a_worker_that_lacks_a_part_of_the_line_is_ready_for_its_own(depot: Depot) -> None:
    await depot.create_source()
    worker = depot.start(role="router")
    await depot.until(lambda: is_healthy(worker, "/health/ready"))
    ready = await asyncio.to_thread(health, worker, "/health/ready")
    assert ready is not None
    assert set(ready.conditions) == {"rules", "tables", "group", "broker", "formats"}


@pytest.mark.parametrize("broker", ["embedded"], indirect=True)
@pytest.mark.long
async def test_a_worker_whose_tables_are_not_recovered_yet_is_not_ready_and_takes_nothing(depot: Depot) -> None:
    depot.write(SERVICES + UNRECOVERED, RULES)
    depot.open_gate()
    first = depot.start()
    await depot.push(numbered(range(0, 20, 2)))
    await depot.settled(10)
    await depot.stop(first)
    depot.close_gate()

    worker = depot.start()
    await depot.push(numbered(range(20, 40, 2)))
    await stays_unready(depot, worker, {"tables"})
    assert await depot.counts() == {Ending.DELIVERED: 10}

    depot.open_gate()
    await depot.until(lambda: is_healthy(worker, "/health/ready"))
    await depot.settled(20)
    assert await depot.counts() == {Ending.DELIVERED: 20}


@pytest.mark.parametrize("broker", ["kafka"], indirect=True)
async def test_a_worker_that_its_groups_have_not_admitted_is_not_ready(depot: Depot) -> None:
    await depot.create_source()
    frozen = depot.start(BROKER_SESSION_TIMEOUT="80", BROKER_REBALANCE_TIMEOUT="80")
    await depot.until(lambda: is_healthy(frozen, "/health/ready"))

    os.kill(frozen.child.pid, signal.SIGSTOP)
    try:
        alone = depot.start()
        await stays_unready(depot, alone, {"group", "on_ramp", "waiting_rooms"})
    finally:
        os.kill(frozen.child.pid, signal.SIGCONT)  # until then, its groups wait for it
    await depot.until(depot.all_ready)
    await depot.push(numbered(range(0, 20, 2)))
    await depot.settled(10)


@pytest.mark.parametrize("broker", ["embedded"], indirect=True)
@pytest.mark.parametrize("chaining", ["on", "off"])
async def test_the_metrics_of_a_worker_add_up_to_what_the_line_did(depot: Depot, chaining: str) -> None:
    await depot.create_source()
    worker = depot.start(CHAINING=chaining, SERVICE_ATTEMPTS="3", SERVICE_BACKOFF="0.1")
    await depot.until(lambda: is_healthy(worker, "/health/ready"))
    await depot.push([*numbered(range(20)), *numbered(["refused"])])
    await depot.settled(21)

    found = await asyncio.to_thread(metrics, worker)
    assert found["metroline_source_records_total",] == found["metroline_source_messages_total",] == 21
    outcomes = {name[1:]: value for name, value in found.items() if name[0] == "metroline_outcomes_total"}
    assert outcomes == {  # by cause, end, outcome and last stop
        ("", "", "delivered", "shelf"): 18,
        ("", "", "dropped", "weigh"): 2,
        ("service_error", "", "dead", "weigh"): 1,
    }
    assert found["metroline_dead_letters",] == 1
    assert found["metroline_journey_seconds_count",] == 21
    assert found["metroline_journey_seconds_sum",] > 0
    assert found["metroline_retries_total", "weigh"] == 2
    assert found["metroline_stop_handling_seconds_count", "weigh"] == 23
    assert found["metroline_stop_handling_seconds_count", "crane"] == 10
    assert found["metroline_rule_hits_total", "heavy ones need the crane"] == 10
    assert found["metroline_rule_hits_total", "some are not kept"] == 2
    assert found["metroline_rules_version",] == found["metroline_live_workers",] == 1
    assert all(value == 1 for name, value in found.items() if name[0] == "metroline_ready")


@pytest.mark.parametrize("broker", ["embedded"], indirect=True)
@pytest.mark.parametrize(("defect", "unread"), [(STUCK, [1]), (PAUSED, [0, 1, 2, 3])], ids=["stuck", "paused"])
async def test_a_partition_that_is_not_read_though_it_holds_messages_asks_for_a_restart(
    depot: Depot, defect: str, unread: list[int]
) -> None:
    depot.write(SERVICES + defect, RULES)
    await depot.create_source()
    worker = depot.start()
    await depot.until(lambda: is_healthy(worker, "/health/ready"))
    await asyncio.sleep(3.0)  # several checks: nothing is wrong with partitions that hold nothing
    assert await is_healthy(worker, "/health/live")

    await depot.push(numbered(range(40)))

    named = ", ".join(f"{depot.topics.source}[{partition}]" for partition in unread)

    async def is_said() -> bool:
        live = await asyncio.to_thread(health, worker, "/health/live")
        return live is not None and live.status == 503 and live.conditions["reading"].endswith(f": {named}")

    await depot.until(is_said)
    assert await is_healthy(worker, "/health/ready")


@pytest.mark.long
async def test_a_broker_that_is_frozen_or_stopped_makes_a_worker_not_ready_until_it_is_back(
    prefix: str, tmp_path: Path
) -> None:
    with running_node(tmp_path) as node:
        depot = Depot(Broker("kafka", node.bootstrap), prefix, tmp_path / "depot", tmp_path)
        await depot.create_source()
        worker = depot.start(SERVICE_TIMEOUT="300")

        def come_back() -> None:
            depot.open_gate()  # outcomes of records that were under way wait for the broker
            node.start()

        try:
            await depot.until(lambda: is_healthy(worker, "/health/ready"))
            await away(depot, worker, node.freeze, node.thaw)
            await depot.push(numbered(range(10)))
            await depot.settled(10)

            await depot.push(numbered(range(10, 20), waits=True))
            await away(depot, worker, node.stop, come_back)
            await depot.push(numbered(range(20, 30)))
            await depot.settled(30)
            check_ways((await depot.journeys()).values(), range(30))
            log = worker.child.log.read_text()
            assert "+---" not in log, "Faust's tables"
            assert "NotLeaderForPartition" not in log, "clients mend it within a moment"
            assert await depot.stop(worker) == 0
        finally:
            depot.end()


async def away(depot: Depot, worker: WorkerProcess, leave: Callable[[], None], come_back: Callable[[], None]) -> None:
    """Have the broker away until the worker is not ready, and back until it is; a restart would help at no time."""
    lines_before = len(worker.child.log.read_text().splitlines())
    await asyncio.to_thread(leave)
    try:
        await depot.until(lambda: is_unhealthy(worker, "/health/ready"), 30)
        assert await is_healthy(worker, "/health/live")
    finally:
        await asyncio.to_thread(come_back)
    await depot.until(lambda: is_healthy(worker, "/health/ready"), 60)
    assert await is_healthy(worker, "/health/live")
    log = worker.child.log.read_text()
    assert len(log.splitlines()) - lines_before < MAX_LINES, log


async def stays_unready(depot: Depot, worker: WorkerProcess, conditions: set[str]) -> None:
    """Wait until a worker answers. Assert that these conditions fail, for good, and that no restart would help."""
    await depot.until(lambda: is_unhealthy(worker, "/health/ready"))
    await depot.until(lambda: fails(worker, conditions))
    for _ in range(10):
        assert await fails(worker, conditions)
        assert await is_healthy(worker, "/health/live")
        await asyncio.sleep(0.2)


async def fails(worker: WorkerProcess, conditions: set[str]) -> bool:
    """Return whether the worker is not ready, for these reasons at least."""
    answer = await asyncio.to_thread(health, worker, "/health/ready")
    return answer is not None and answer.status == 503 and conditions <= answer.failing


async def is_healthy(worker: WorkerProcess, path: str) -> bool:
    """Return whether the worker answers with 200."""
    answer = await asyncio.to_thread(health, worker, path)
    return answer is not None and answer.status == 200


async def is_unhealthy(worker: WorkerProcess, path: str) -> bool:
    """Return whether the worker answers with 503 and says why."""
    answer = await asyncio.to_thread(health, worker, path)
    return answer is not None and answer.status == 503 and bool(answer.failing)
