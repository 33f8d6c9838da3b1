"""The health checks answer with a status for orchestrators and with reasons for people."""

from __future__ import annotations

import asyncio
from typing import Any, cast

import pytest
from aiokafka import TopicPartition
from faust.types import TP

from metroline.agents.kafka.producer import NotSent
from metroline.agents.stops.circuit_breaker import CircuitBreaker
from metroline.agents.tables.line_table import LineTableManager
from metroline.agents.tables.publication import Publication
from metroline.app.readiness import is_reading
from metroline.routing.messages.record_ids import Origin
from tests.support.bench import FakeProducer
from tests.support.web_worker import Start, WebWorker

WHOLE_LINE = {"rules", "tables", "group", "on_ramp", "waiting_rooms", "broker"}


async def failing(one: WebWorker, path: str = "/health/ready") -> dict[str, str]:
    """Return the conditions that fail, each with its reason; assert that the status fits."""
    response = await one.get(path)
    body = await response.json()
    found = {name: reason for name, reason in body["conditions"].items() if reason != "ok"}
    assert (response.status, body["status"]) == ((503, "failing") if found else (200, "ok"))
    assert response.headers["Cache-Control"] == "no-store"
    return found


async def test_a_worker_that_has_just_started_is_live_and_not_ready_and_says_why(start: Start) -> None:
    one = await start()
    assert await failing(one, "/health/live") == {}
    found = await failing(one)
    assert set(found) == WHOLE_LINE
    assert found["tables"] == "the tables are being recovered"
    assert found["on_ramp"] == "the consumer group metrobus.on-ramp is not joined, or a rebalance is under way"


async def test_a_recovery_says_how_much_is_left(start: Start) -> None:
    one = await start()
    recovery = cast(LineTableManager, one.app.tables).recovery
    recovery.active_highwaters.update({TP("t", 0): 120, TP("t", 1): 7})
    recovery.active_offsets.update({TP("t", 0): 20, TP("t", 1): 9})
    assert (await failing(one))["tables"] == "the tables are being recovered, and 100 entries are left to read"


async def test_only_the_groups_of_the_role_are_conditions(start: Start) -> None:
    assert set(await failing(await start("router"))) == WHOLE_LINE - {"on_ramp", "waiting_rooms"}
    assert set(await failing(await start("on-ramp"))) == WHOLE_LINE - {"waiting_rooms"}


async def test_a_worker_with_rules_tables_groups_and_a_broker_is_ready(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = await ready_worker(start, monkeypatch)
    assert await failing(one) == {}


async def test_a_rebalance_makes_it_not_ready_and_stays_no_reason_for_a_restart(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = await ready_worker(start, monkeypatch)
    one.app.rebalancing = True
    assert set(await failing(one)) == {"group"}
    assert await failing(one, "/health/live") == {}


async def test_a_partition_that_only_a_newer_version_reads_makes_it_not_ready_and_a_restart_would_not_help(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = await ready_worker(start, monkeypatch)
    partition = TopicPartition("metrobus.service.log", 3)
    monkeypatch.setattr(one.app.stopped, "_offsets", {partition: 7})
    reason = "a newer version of Metroline wrote to metrobus.service.log[3]: upgrade this worker first"
    assert await failing(one) == {"formats": reason}
    assert await failing(one, "/health/live") == {}
    assert is_reading(one.app)


async def test_a_topic_that_refuses_messages_is_named(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    one = await ready_worker(start, monkeypatch)
    producer = FakeProducer()
    monkeypatch.setattr(one.app.bus._shipping, "_producer", producer)
    monkeypatch.setattr("metroline.agents.delivery.shipping.FIRST_WAIT_SECONDS", 0.0)
    answers: list[NotSent | None] = [NotSent("TOPIC_AUTHORIZATION_FAILED")]
    producer.refuse = lambda _: answers[0]

    confirmation = await one.app.bus.produce("metrobus.rules", 0, b"")
    await asyncio.sleep(0)
    assert await failing(one) == {"broker": "messages could not be written to metrobus.rules, and are sent again"}

    answers[0] = None
    await confirmation
    assert await failing(one) == {}


async def test_a_partition_that_stands_still_is_named_by_the_liveness_check(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = await ready_worker(start, monkeypatch)
    one.app.stall_watch._note(frozenset({TopicPartition("metrobus.source", 3)}))
    reason = "there are messages to read, and nobody reads them: metrobus.source[3]"
    assert await failing(one, "/health/live") == {"reading": reason}
    assert await failing(one) == {}


async def test_a_stop_that_is_paused_is_named_and_makes_nothing_fail(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = await ready_worker(start, monkeypatch)
    breaker = CircuitBreaker("log", 2, lambda: 100.0)
    monkeypatch.setattr(one.app, "breakers", {"log": breaker, "note": CircuitBreaker("note", 2)})
    for number in range(2):
        assert "paused" not in await (await one.get("/health/ready")).json()
        breaker.failed((Origin("source", 0), number), "service_error: OSError: away")
    assert await failing(one) == {}
    for path in ("/health/ready", "/health/live"):
        reason = "paused for 0 s, since all calls failed, the last one with service_error: OSError: away"
        assert (await (await one.get(path)).json())["paused"] == {"log": reason}
    metrics = await (await one.get("/metrics")).text()
    assert 'metroline_stop_paused{stop="log"} 1.0' in metrics
    assert 'metroline_stop_paused{stop="note"} 0.0' in metrics
    assert 'metroline_stop_pauses_total{stop="log"} 1.0' in metrics


async def test_a_resource_that_is_broken_is_named_and_makes_nothing_fail(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = await ready_worker(start, monkeypatch)
    assert "broken" not in await (await one.get("/health/ready")).json()
    monkeypatch.setattr(type(one.app), "broken_resources", {"pool": "broken for 2 s: away"})
    monkeypatch.setattr(type(one.app), "resource_breaks", {"pool": 3, "log": 0})
    assert await failing(one) == {}
    for path in ("/health/ready", "/health/live"):
        assert (await (await one.get(path)).json())["broken"] == {"pool": "broken for 2 s: away"}
    metrics = await (await one.get("/metrics")).text()
    assert 'metroline_resource_broken{resource="pool"} 1.0' in metrics
    assert 'metroline_resource_broken{resource="log"} 0.0' in metrics
    assert 'metroline_resource_breaks_total{resource="pool"} 3.0' in metrics


async def ready_worker(start: Start, monkeypatch: pytest.MonkeyPatch) -> WebWorker:
    """Return a worker that has all that it needs, without a broker."""
    one = await start()
    app = cast(Any, one.app)
    app.tables.actives_ready = True
    one.put(app.line_tables.rules, {"1": Publication(app.line.rules_text, 0, "a test", 0.0).as_json()})
    for part in (type(app.consumer), type(app.on_ramp), type(app.waiting_rooms)):
        monkeypatch.setattr(part, "is_joined", True)
    monkeypatch.setattr(type(app.heartbeat), "is_served", True)
    return one
