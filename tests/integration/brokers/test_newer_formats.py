"""A message that a newer version wrote stops the reader of its partition, which leaves it to an upgraded worker."""

from __future__ import annotations

import asyncio

import pytest
from aiokafka import TopicPartition

from metroline.routing.messages.envelope import FORMAT
from tests.support.brokers import EMBEDDED_FIRST
from tests.support.depot import Depot, numbered
from tests.support.health import health


def of_a_newer_version(partition: int) -> bytes:
    """Return an envelope that nothing is known of but its format."""
    header = b'{"metroline":%d,"strategy":"signpost","origin":["source",%d],"segments":[{"new":1}]}'
    return header % (FORMAT + 1, partition) + b'\n{"n":1}'


@pytest.mark.parametrize(
    ("address", "group"),
    [("service.weigh", "{}@all"), ("arrivals", "{}@all"), ("waiting.200ms", "{}.waiting"), ("source", "{}.on-ramp")],
)
@EMBEDDED_FIRST
async def test_its_partition_waits_for_an_upgrade_and_all_others_go_on(depot: Depot, address: str, group: str) -> None:
    topic, before = depot.topics.at(address), 3
    worker = depot.start()
    await depot.ready()
    await depot.push([*numbered([1, 3, 7, 9])])
    await depot.settled(4)
    async with depot.cluster.producer() as producer:
        sent = await producer.send_and_wait(topic, of_a_newer_version(before), partition=before)
    line = f"{topic}[{before}] is not read any further: a newer version of Metroline wrote the message at offset"
    await depot.until(lambda: line in worker.child.log.read_text())

    await depot.push(numbered([11, 13, 17]))  # to the other partitions
    await depot.settled(7)

    ready = await asyncio.to_thread(health, worker, "/health/ready")
    assert ready is not None
    assert ready.failing == {"formats"}
    assert f"{topic}[{before}]" in ready.conditions["formats"]
    live = await asyncio.to_thread(health, worker, "/health/live")
    assert live is not None
    assert live.status == 200
    assert not await depot.letters()
    assert await depot.stop(worker) == 0
    async with depot.cluster.consumer(group_id=group.format(depot.prefix)) as consumer:
        committed = await consumer.committed(TopicPartition(topic, before))
    assert (committed or 0) <= sent.offset
    assert worker.child.log.read_text().count("is not read any further") == 1
