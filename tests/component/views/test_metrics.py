"""The metrics of a worker are those that docs/monitoring.md describes and that the alerts ask for."""

from __future__ import annotations

import re
import shutil
import subprocess
import time
from types import SimpleNamespace
from typing import Any, cast

import orjson
import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from metroline.agents.delivery import journey_metrics
from metroline.agents.delivery.journey_metrics import OTHER, JourneyMetrics
from metroline.agents.gateways.sqs.client import CallCounts
from metroline.agents.membership.worker import WorkerInfo
from metroline.agents.services.schedule import Clock
from metroline.agents.tables.owned_table import OwnedTable
from metroline.routing.addresses import CONDUCTOR
from metroline.routing.messages.itinerary import Provenance
from metroline.routing.messages.segment import Segment, Visit
from metroline.routing.outcome import DELIVERED, Cause, Outcome
from tests.support.brokers import unavailable
from tests.support.project import ROOT
from tests.support.web_worker import Start, WebWorker, share

PAGE = (ROOT / "docs" / "monitoring.md").read_text("utf-8")
ALERTS = ROOT / "monitoring" / "alerts.yml"
OWN = re.compile(r"\bmetroline_\w+")

Samples = dict[tuple[str, tuple[tuple[str, str], ...]], float]


def settled(outcome: Outcome, count: int = 1, *stops: str) -> Segment:
    """Return records that entered at 100 s and have visited these stops."""
    history = tuple(Visit(stop, 101.0, f"to {stop}", "conductor", 1) for stop in stops)
    ids, lines = tuple(range(count)), (b"{}",) * count
    return Segment(ids, lines, 100.0, history, Provenance("the end", "conductor", 1), outcome=outcome)


async def samples(one: WebWorker) -> Samples:
    """Return the values at /metrics by name and labels, as Prometheus reads them."""
    response = await one.get("/metrics")
    assert response.status == 200
    assert response.headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
    families = text_string_to_metric_families(await response.text())
    return {(one.name, tuple(sorted(one.labels.items()))): one.value for family in families for one in family.samples}


def value(found: Samples, name: str, **labels: str) -> float:
    return found[name, tuple(sorted(labels.items()))]


def test_times_at_stops_are_counted_of_some_journeys_where_there_are_many() -> None:
    journeys = JourneyMetrics()
    for second in range(4):
        for _ in range(4 * journey_metrics.TIMED_MOST):
            journeys.settled(settled(DELIVERED, 1, "weigh"), 100.0 + second)
    timed = sum(journeys.stop_times["weigh"].counts)
    assert timed < 4 * journey_metrics.TIMED_MOST + 4 * journey_metrics.TIMED_MOST
    assert journeys.tracks["source", "weigh", False] == 16 * journey_metrics.TIMED_MOST
    journeys.settled(settled(DELIVERED, 1, "weigh"), 1_000.0)
    journeys.settled(settled(DELIVERED, 1, "weigh"), 1_002.0)
    before = sum(journeys.stop_times["weigh"].counts)
    journeys.settled(settled(DELIVERED, 1, "weigh"), 1_004.0)
    assert sum(journeys.stop_times["weigh"].counts) == before + 1, "of few, each is counted"


def test_the_records_on_tracks_are_counted_whatever_the_number_of_routes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journey_metrics, "MAX_SERIES", 3)
    journeys = JourneyMetrics()
    for loops in range(1, 6):
        journeys.settled(settled(DELIVERED, 2, *["weigh"] * loops), 101.0)
    assert journeys.tracks == {
        ("source", "weigh", False): 10,
        ("weigh", "weigh", False): 2 * (0 + 1 + 2 + 3 + 4),
        ("weigh", "delivered", True): 10,
    }
    assert len(journeys.routes) == 3


async def test_records_are_counted_by_outcome_with_the_time_that_they_took(start: Start) -> None:
    one = await start()
    journeys = one.app.bus.metrics.journeys
    journeys.settled(settled(DELIVERED, 30, "weigh", "shelf"), 100.2)
    journeys.settled(settled(Outcome.dead(Cause.TIMEOUT, "after 3 s"), 2, "weigh"), 109.0)
    found = await samples(one)
    assert value(found, "metroline_outcomes_total", outcome="delivered", stop="shelf", cause="", end="") == 30
    assert value(found, "metroline_outcomes_total", outcome="dead", stop="weigh", cause="timeout", end="") == 2
    assert value(found, "metroline_journey_seconds_bucket", le="0.1") == 0
    assert value(found, "metroline_journey_seconds_bucket", le="0.25") == 30
    assert value(found, "metroline_journey_seconds_bucket", le="+Inf") == 32
    assert value(found, "metroline_journey_seconds_count") == 32
    assert value(found, "metroline_journey_seconds_sum") == pytest.approx(30 * 0.2 + 2 * 9)
    assert value(found, "metroline_rule_hits_total", rule="to weigh") == 32
    assert value(found, "metroline_rule_hits_total", rule="the end") == 32


async def test_what_a_worker_knows_of_itself_is_told(start: Start) -> None:
    one = await start("router")
    one.app.bus.metrics.sent("arrivals", 3, 100)
    one.app.bus.metrics.journeys.decided["switch"] += 4
    found = await samples(one)
    assert value(found, "metroline_worker_info", line="metrobus", role="router", strategy="signpost") == 1
    assert value(found, "metroline_ready", condition="tables") == 0
    assert value(found, "metroline_bus_records_total", address="arrivals") == 3
    assert value(found, "metroline_replans_total") == 4
    assert value(found, "metroline_stop_oldest_waiting_seconds", address="switch") == 0
    assert value(found, "process_resident_memory_bytes") > 0
    names = {name for name, _ in found}
    assert "metroline_source_records_total" not in names, "a router has no source"
    assert "metroline_dead_letters" not in names, "nor tables of outcomes"


async def test_places_that_no_live_worker_serves_are_told(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    def told(found: Samples) -> dict[str, float]:
        return {labels[0][1]: held for (name, labels), held in found.items() if name == "metroline_unserved"}

    one = await start("on-ramp,service:log")
    assert told(await samples(one)) == {}, "no broker answers, so that the others are not known"
    monkeypatch.setattr(type(one.app.heartbeat), "is_served", True)
    monkeypatch.setattr(type(one.app.settings.strategy), "routers", (CONDUCTOR,))
    places = frozenset({"source", "arrivals", "service.log", "service.allow_list", "service.contact_point"})
    monkeypatch.setattr(one.app, "needed_places", lambda: places)
    alone = {
        "source": 0,
        "service.log": 0,
        "arrivals": 1,
        "conductor": 1,
        "service.allow_list": 1,
        "service.contact_point": 1,
    }
    assert told(await samples(one)) == alone
    other = WorkerInfo(
        "other",
        "g",
        ("arrivals", "router", "service:allow_list"),
        ("allow_list",),
        "conductor",
        "http://o:1",
        1,
        1.0,
        time.time(),
    )
    one.app.workers.observe(orjson.dumps(other.as_json()))
    assert told(await samples(one)) == dict.fromkeys(alone, 0) | {"service.contact_point": 1}


async def test_dead_letters_are_those_of_the_partitions_that_the_worker_owns(start: Start) -> None:
    one = await start()
    counts = [["weigh", "dead", "timeout", 3], ["shelf", "delivered", "", 9], ["log", "dead", "service_error", 4]]
    one.put(one.outcomes, {"0/source/0": {"counts": counts}, "0/source/1": {"counts": counts[:1]}})
    one.put(one.outcomes, {"1/source/0": {"counts": counts}})
    await share({one: {0}})
    cast(OwnedTable, one.outcomes).epochs[0] = 1
    assert value(await samples(one), "metroline_dead_letters") == 10
    one.put(one.outcomes, {"0/source/1": {"counts": []}})  # discarded
    assert value(await samples(one), "metroline_dead_letters") == 7


async def test_the_worker_that_follows_the_schedules_tells_of_their_ticks(start: Start) -> None:
    one = await start()
    assert "metroline_schedule_next_tick_timestamp_seconds" not in {name for name, _ in await samples(one)}
    clocks = (Clock("nightly", 2, 100, 200), Clock("fresh", 0, None, 300), Clock("gone", 1, 50, None))
    one.app.ticker = cast(Any, SimpleNamespace(clocks=clocks))
    found = await samples(one)
    last, due = "metroline_schedule_last_tick_timestamp_seconds", "metroline_schedule_next_tick_timestamp_seconds"
    assert {key[1][0][1]: found[key] for key in found if key[0] == last} == {"nightly": 6_000, "gone": 3_000}
    assert {key[1][0][1]: found[key] for key in found if key[0] == due} == {"nightly": 12_000, "fresh": 18_000}


async def test_records_are_counted_by_the_end_at_which_they_were_delivered(start: Start) -> None:
    one = await start()
    one.app.bus.metrics.journeys.settled(settled(Outcome.delivered("shipped"), 3, "shelf"), 100.2)
    found = await samples(one)
    assert value(found, "metroline_outcomes_total", outcome="delivered", stop="shelf", cause="", end="shipped") == 3


def test_names_that_keep_changing_do_not_make_series_without_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journey_metrics, "MAX_SERIES", 3)
    journeys = JourneyMetrics()
    for number in range(10):
        journeys.settled(settled(DELIVERED, 1, f"stop {number}"), 101.0)
    assert journeys.outcomes["delivered", OTHER, "", ""] == 7
    assert sum(journeys.outcomes.values()) == 10
    assert len(journeys.rule_hits) == 4
    assert sum(journeys.rule_hits.values()) == 20


async def exported(start: Start) -> set[str]:
    """Return the names of all metrics of our own, as they are queried."""
    one = await start()
    journeys = one.app.bus.metrics.journeys
    journeys.settled(settled(DELIVERED, 1, "log"), 101.0)
    journeys.decided["conductor"] += 1
    one.app.bus.metrics.sent("arrivals", 1, 1)
    one.app.bus.metrics.handed_on("arrivals", 1)
    counts = CallCounts()
    counts.calls["ReceiveMessage"] = counts.failures["ReceiveMessage"] = 1
    receiver = SimpleNamespace(client=SimpleNamespace(counts=counts), repeated=0, in_hand=0)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(type(one.app.heartbeat), "is_served", True)  # no broker answers
        patch.setattr(type(one.app), "resource_breaks", {"pool": 0})  # the example line has no resources
        clocks = (Clock("nightly", 1, 100, 200),)
        patch.setattr(one.app, "ticker", SimpleNamespace(clocks=clocks))  # nor schedules
        patch.setattr(one.app, "gateway", SimpleNamespace(receiver=receiver))  # and no queue
        found = await samples(one)
    return {name for name, _ in found if OWN.fullmatch(name) and not name.endswith("_created")}


async def test_every_metric_is_described_and_no_other(start: Start) -> None:
    names = {re.sub(r"(?<=_seconds)_(bucket|sum|count)$", "", name) for name in await exported(start)}
    assert set(re.findall(r"^\| `(metroline_\w+)", PAGE, re.MULTILINE)) == names


async def test_every_metric_that_an_alert_asks_for_exists(start: Start) -> None:
    groups: list[Any] = yaml.safe_load(ALERTS.read_text("utf-8"))["groups"]
    rules = [rule for group in groups for rule in group["rules"]]
    asked = {name for rule in rules for name in OWN.findall(rule["expr"])}
    assert asked
    assert asked <= await exported(start)
    for rule in rules:
        assert f"`{rule['alert']}`" in PAGE


def test_the_alerts_are_raised_when_they_should_be() -> None:
    if shutil.which("promtool") is None:
        unavailable("promtool is not installed (Debian: prometheus)")
    tests = ALERTS.with_name("alerts_test.yml")
    done = subprocess.run(["promtool", "test", "rules", str(tests)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
