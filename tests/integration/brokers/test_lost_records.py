"""Messages that Kafka deletes before they are read are noticed, named and counted; all others arrive."""

from __future__ import annotations

import asyncio

import pytest
from aiokafka import TopicPartition
from confluent_kafka import TopicPartition as Position
from confluent_kafka.admin import AdminClient

from tests.support.depot import Depot, numbered
from tests.support.health import metrics

pytestmark = pytest.mark.parametrize("broker", ["kafka"], indirect=True)  # the embedded one cannot delete messages


async def delete(depot: Depot, ends: dict[TopicPartition, int]) -> None:
    """Delete the messages before these offsets."""
    client = AdminClient({"bootstrap.servers": depot.broker.bootstrap})
    asked = [Position(tp.topic, tp.partition, end) for tp, end in ends.items()]
    for future in client.delete_records(asked).values():
        await asyncio.to_thread(future.result, 30)


async def test_source_messages_that_are_deleted_while_no_worker_runs_are_counted_as_lost(depot: Depot) -> None:
    source = depot.topics.source
    await depot.push(numbered(range(1, 17, 2)))
    first = depot.start()
    await depot.settled(8)
    await depot.stop(first)
    await depot.push(numbered(range(21, 61, 2)))  # five a partition, at offsets 2 to 6
    await delete(depot, {TopicPartition(source, 0): 5, TopicPartition(source, 1): 7})

    second = depot.start()
    await depot.settled(8 + 2 + 5 + 5)

    def page() -> dict[str, object]:
        return dict(second.get("/table/outcomes/") or {})

    await depot.until(lambda: page().get("lost") == 8, 60)
    assert page()["losses"] == [
        {"origin": "source", "partition": 0, "first": 2, "last": 4},
        {"origin": "source", "partition": 1, "first": 2, "last": 6},
    ]
    assert page()["settled"] == 20
    assert page()["duplicates"] == 0
    log = second.child.log.read_text()
    assert f"{source}[0]: the messages at offsets 2 to 4 were deleted before they were read" in log
    assert f"{source}[1]: the messages at offsets 2 to 6 were deleted before they were read" in log
    assert (await asyncio.to_thread(metrics, second))["metroline_lost_messages_total", source] == 8


@pytest.mark.long
@pytest.mark.parametrize("chaining", ["off", "on"])
async def test_an_envelope_that_is_deleted_from_the_topic_of_a_stop_is_counted_as_lost(
    depot: Depot, chaining: str
) -> None:
    stop = depot.topics.at("service.weigh")
    rest = "router,arrivals,service:weigh,service:crane,service:shelf"
    depot.variables = {"CHAINING": chaining, "PACK_RECORDS": "1"}
    depot.start(role="on-ramp")
    services = depot.start(role=rest)
    await depot.push(numbered(range(1, 17, 2)))  # two a partition, at offsets 0 and 1
    await depot.settled(8)
    await depot.stop(services)
    await depot.push(numbered(range(21, 37, 2)))  # two more, at offsets 2 and 3
    ends = [TopicPartition(stop, number) for number in range(depot.partitions)]

    async def have_come() -> bool:
        async with depot.cluster.consumer() as consumer:
            return set((await consumer.end_offsets(ends)).values()) == {4}

    await depot.until(have_come)
    await delete(depot, {TopicPartition(stop, 2): 3})

    services = depot.start(role=rest)
    await depot.settled(15)
    await depot.until(lambda: bool((services.get("/table/outcomes/") or {}).get("losses")), 60)

    told = services.get("/table/outcomes/")
    assert told["losses"] == [{"origin": "lost:service.weigh", "partition": 2, "first": 2, "last": 2}]
    assert told["lost"] == 0  # of the source; nobody knows how many records the envelope held
    assert f"{stop}[2]: the messages at offsets 2 to 2 were deleted" in services.child.log.read_text()
    await depot.push(numbered([51, 53, 55, 57]))  # the partition goes on
    await depot.settled(19)

    async def told_how_many() -> bool:
        return (await asyncio.to_thread(metrics, services))["metroline_unaccounted_records",] == 1

    await depot.until(told_how_many, 90)
