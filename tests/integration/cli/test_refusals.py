"""Problems that would occur later are refused at the start, with one line that says what to do and exit code 1."""

from __future__ import annotations

import asyncio
import json

import pytest

from metroline.agents.kafka.cluster import Cluster
from metroline.agents.kafka.topic_admin import TopicAdmin, TopicPlan
from tests.support.brokers import KAFKA_FIRST
from tests.support.depot import RULES, SERVICES, Depot, check_ways, numbered

BROKERS_LEAVE = """
from aiokafka.errors import KafkaConnectionError
from faust.transport.drivers.aiokafka import AIOKafkaConsumerThread


async def refused(self):
    raise KafkaConnectionError("Connection refused")


AIOKafkaConsumerThread.on_start = refused
"""


@KAFKA_FIRST
async def test_a_source_that_was_created_anew_is_refused_until_its_epoch_is_raised(depot: Depot) -> None:
    worker = depot.start()
    await depot.ready()
    await depot.push(numbered(range(40)))
    await depot.settled(40)
    assert await depot.stop(worker) == 0
    await TopicAdmin(depot.cluster).delete([depot.topics.source])
    await depot.until(lambda: is_gone(depot.cluster, depot.topics.source))
    await depot.push(numbered(range(40, 44)))

    told = await depot.refused()
    assert told.startswith(f"error: {depot.topics.source}[")
    assert "has been created again since: set SOURCE_EPOCH to 1" in told

    depot.start(SOURCE_EPOCH="1")
    await depot.settled(44)
    check_ways((await depot.journeys()).values(), range(44))


async def is_gone(cluster: Cluster, topic: str) -> bool:
    return topic not in await TopicAdmin(cluster).partitions([topic])


@pytest.mark.parametrize("broker", ["embedded"], indirect=True)
async def test_a_worker_whose_brokers_go_away_while_it_starts_ends_and_says_so(depot: Depot) -> None:
    depot.write(SERVICES + BROKERS_LEAVE, RULES)
    await depot.create_source()

    told = await depot.refused()

    group = f"{depot.prefix}@all"
    assert told == (
        f"error: the worker cannot join the consumer group {group}: KafkaConnectionError: "
        "KafkaConnectionError: Connection refused"
    )


async def test_topics_with_more_partitions_than_the_source_are_refused_by_name(depot: Depot) -> None:
    await TopicAdmin(depot.cluster).create(
        [TopicPlan(depot.topics.source, 2), TopicPlan(depot.topics.at("conductor"), 3)]
    )

    told = await depot.refused()

    assert told.startswith(
        f"error: the topic {depot.topics.at('conductor')} has 3 partitions, its source has 2: give the line another "
        "PREFIX, or delete its topics while it is stopped"
    )


@pytest.mark.parametrize("broker", ["embedded"], indirect=True)  # it cannot add partitions to a topic
async def test_topics_with_fewer_partitions_are_refused_if_none_can_be_added(depot: Depot) -> None:
    await TopicAdmin(depot.cluster).create(
        [TopicPlan(depot.topics.source, 3), TopicPlan(depot.topics.at("conductor"), 2)]
    )

    told = await depot.refused()

    assert "has 2 partitions, its source has 3, and none could be added (the broker cannot add partitions): " in told


@pytest.mark.parametrize("broker", ["kafka"], indirect=True)
async def test_the_topics_grow_with_the_source_when_a_worker_starts(depot: Depot) -> None:
    worker = depot.start()
    await depot.push(numbered(range(20)))
    await depot.settled(20)
    assert await depot.stop(worker) == 0
    await TopicAdmin(depot.cluster).add_partitions({depot.topics.source: 6})
    depot.partitions = 6

    depot.start()
    await depot.push(numbered(range(20, 50)))
    await depot.settled(50)

    check_ways((await depot.journeys()).values(), range(50))


@pytest.mark.parametrize("broker", ["embedded"], indirect=True)  # the refusal does not depend on the broker
@pytest.mark.parametrize(
    ("variables", "told"),
    [
        ({"strategy": "teleport"}, "ROUTING_STRATEGY: there is no strategy 'teleport'; there are hard_wired, "),
        ({"role": "service:nowhere"}, "ROLE: this line has no role 'service:nowhere'; it has all, on-ramp, "),
        ({"PACK_BYTES": "2000000"}, "PACK_BYTES: 2000000 is more than the 1048588 that a message may hold"),
        ({"BROKER_URL": "kafka://127.0.0.1:1"}, "no Kafka broker answers at 127.0.0.1:1"),
        ({"LINE": "no.such.line"}, "there is no line 'no.such.line'"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
async def test_a_setting_that_cannot_be_used_is_one_line(depot: Depot, variables: dict[str, str], told: str) -> None:
    worker = depot.start(**variables)
    await depot.until(lambda: worker.child.exit_code is not None, watch=False)
    depot.workers.remove(worker)
    await asyncio.to_thread(worker.stop)

    lines = worker.child.log.read_text().strip().splitlines()
    assert worker.child.exit_code in (1, 2)
    assert lines[-1].startswith(f"error: {told}")
    assert not [line for line in lines if "Traceback" in line]


@pytest.mark.parametrize("broker", ["embedded"], indirect=True)
async def test_a_log_as_json_ends_with_the_reason_as_json(depot: Depot) -> None:
    last = json.loads(await depot.refused(BROKER_URL="kafka://127.0.0.1:1", LOG_FORMAT="json"))
    assert last["level"] == "critical"
    assert last["message"].startswith("no Kafka broker answers at 127.0.0.1:1")


@pytest.mark.parametrize("broker", ["embedded"], indirect=True)
async def test_every_line_of_a_log_as_json_is_an_object(depot: Depot) -> None:
    worker = depot.start(LOG_FORMAT="json")
    await depot.until(lambda: worker.get("/health/ready") is not None)
    await depot.stop(worker)
    lines = [json.loads(line) for line in worker.child.log.read_text().splitlines()]
    assert all(line.keys() >= {"time", "level", "logger", "message"} for line in lines)
    told = [line["message"] for line in lines]
    assert told[0].endswith("role all, strategy signpost")
    assert "the worker has joined its group and recovered its tables" in told
    assert len(told) < 15, told
