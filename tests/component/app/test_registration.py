"""Assembly of a worker: it runs the agents of its role, each on its own topic, connected to one bus."""

from __future__ import annotations

import asyncio
from pathlib import Path

import orjson
import pytest

from metroline.agents.kafka.fetch_buffers import Batches, MessageBatch
from metroline.app.factory import create_app
from metroline.app.line_app import LineApp
from metroline.app.settings import Settings
from metroline.routing.journeys.departures import Limits
from metroline.routing.outcome import Ending
from tests.support.bench import RULES, FakeProducer, endings_of, envelope

SERVICES = """
from metroline import service

@service
def a(record):
    \"\"\"Counts.\"\"\"
    record["size"] += 1
    return record

@service
def b(record):
    return record

@service
def c(record):
    return None
"""


@pytest.fixture
def line(tmp_path: Path) -> Path:
    folder = tmp_path / "depot"
    folder.mkdir()
    (folder / "services.py").write_text(SERVICES)
    (folder / "routes.toml").write_text(RULES)
    return folder


@pytest.fixture
def producer(monkeypatch: pytest.MonkeyPatch) -> FakeProducer:
    """Replace the producer of this test's apps with a fake one, and return it."""
    producer = FakeProducer()
    monkeypatch.setattr("metroline.app.factory.KafkaProducer", lambda *how: producer)
    return producer


def test_records_that_wait_for_a_list_come_by_the_bus(line: Path, producer: FakeProducer) -> None:
    code = SERVICES.replace("@service\ndef b(", "@service(batch=True, max_wait=5)\ndef b(")
    (line / "services.py").write_text(code.replace("@service\ndef c(", "@service(batch=True)\ndef c("))
    trains = made(line).bus.trains
    assert [trains.calls_at(f"service.{stop}") for stop in "abc"] == [True, False, True]


def made(line: Path, role: str = "all") -> LineApp:
    app = create_app(Settings.read(line=str(line), role=role), Limits())
    publication = {"rules": RULES, "replaces": 0, "by": "a test", "at": 0.0}
    app.line_tables.rules.data[b"1"] = orjson.dumps(publication)
    return app


@pytest.mark.parametrize(
    ("role", "agents"),
    [
        (
            "all",
            ["arrivals", "conductor", "map-maker", "rules", "service.a", "service.b", "service.c", "switch"],
        ),
        ("on-ramp", ["rules"]),
        ("router", ["conductor", "map-maker", "rules", "switch"]),
        ("arrivals", ["arrivals", "rules"]),
        ("service:b,service:a", ["rules", "service.a", "service.b"]),
    ],
)
def test_a_role_runs_its_agents_and_every_role_follows_the_rules(line: Path, role: str, agents: list[str]) -> None:
    app = made(line, role)

    assert sorted(app.agents) == agents
    assert (app.on_ramp is not None) == (role in ("all", "on-ramp"))
    assert (app.waiting_rooms is not None) == (role in ("all", "arrivals"))
    assert "rules" in app.tables
    assert ("outcomes" in app.tables) == ("arrivals" in agents)


def test_changelogs_are_named_without_the_role(line: Path) -> None:
    names = {
        str(table.changelog_topic_name) for role in ("all", "arrivals") for table in made(line, role).tables.values()
    }

    assert names == {f"depot.table.{name}" for name in ("rules", "outcomes", "journeys", "dead_letters")}


@pytest.fixture
def resumed(line: Path, producer: FakeProducer) -> LineApp:
    """Return an app whose agents accept messages; its tables count as recovered."""
    app = made(line)
    app.finalize()
    app.flow_control.resume()
    app.tables.actives_ready = True
    return app


def batch(*values: bytes, partition: int = 0) -> Batches:
    """Return messages as the transport hands them to an agent."""
    return (MessageBatch(partition, tuple(range(len(values))), values, 0.0, sum(map(len, values))),)


async def test_a_message_on_a_stops_topic_goes_through_its_service_to_the_next_stop(
    resumed: LineApp, producer: FakeProducer
) -> None:
    async with resumed.agents["service.a"].test_context() as agent:
        await agent.put(batch(envelope({"size": 1}, {"size": 10}, partition=2).encode(), partition=2))
        async with asyncio.timeout(30):
            while len(producer.sent) < 2:
                await asyncio.sleep(0.01)

    sent = {one.topic: one for one in producer.sent}
    assert sent["depot.service.c"].records == [{"size": 2}]
    assert sent["depot.service.b"].records == [{"size": 11}]
    assert {one.partition for one in producer.sent} == {2}


async def test_bytes_that_are_no_envelope_do_not_end_an_agent(resumed: LineApp, producer: FakeProducer) -> None:
    async with resumed.agents["service.c"].test_context() as agent:
        await agent.put(batch(b"\xff\xfe no envelope", envelope({"size": 1}).encode()))
        async with asyncio.timeout(30):
            while len(producer.sent) < 2:
                await asyncio.sleep(0.01)

    malformed_message, bad_return = producer.to("depot.arrivals")
    assert malformed_message.envelope.origin.name == "stray:service.c"
    assert endings_of([bad_return]) == {0: (Ending.DEAD, "bad_return: NoneType, not a dict, Drop, Retry or Wait")}


def test_the_help_of_a_stops_agent_is_what_its_service_says(line: Path) -> None:
    app = made(line)

    assert app.agents["service.a"].fun.__doc__ == "Counts."
    assert app.agents["service.b"].fun.__doc__ == "The service b."


def test_faust_creates_no_topics_whatever_the_environment_says(line: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOPIC_REPLICATION_FACTOR", "-1")
    monkeypatch.setenv("TOPIC_ALLOW_DECLARE", "true")

    assert not made(line).conf.topic_allow_declare


def test_only_what_a_role_reads_is_deleted_and_nothing_if_it_is_to_be_kept(
    line: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    purge = made(line, "router,service:a").purge
    assert purge is not None
    assert purge.topics_of == {
        "depot@router+service:a": ("depot.conductor", "depot.map-maker", "depot.switch", "depot.service.a")
    }

    monkeypatch.setenv("ACKNOWLEDGED_MESSAGES", "keep")
    assert made(line).purge is None
