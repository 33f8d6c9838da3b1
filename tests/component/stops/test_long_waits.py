"""Long waits: how often a message is written while its records wait for a day or a week, and when they come out."""

from __future__ import annotations

from typing import Any, cast

import pytest
from aiokafka import TopicPartition
from confluent_kafka import TIMESTAMP_CREATE_TIME, Message

from metroline import Wait
from metroline.agents.kafka.group_consumer import GroupConsumer
from metroline.agents.waiting_rooms import WaitingRooms
from metroline.routing.addresses import WAITING_ROOMS
from tests.support.bench import Bench, Sent, confirmed, envelope

HOUR = 3_600.0
DAY = 24 * HOUR


class NoConsumer:
    """A consumer that pauses and resumes nothing: each message is handed to a room when it is due."""

    def pause(self, partitions: object) -> None: ...
    def resume(self, partitions: object) -> None: ...


async def written_until_it_comes_back(bench: Bench, sent: Sent) -> int:
    """Pass a message from room to room, each time as soon as it is due; return how often it was written."""
    writes = 0
    while (room := sent.topic.removeprefix("test.")) in WAITING_ROOMS:
        writes += 1
        timestamp = (TIMESTAMP_CREATE_TIME, int(bench.now * 1000))
        message = Message(topic=sent.topic, partition=0, offset=writes, value=sent.value, timestamp=timestamp)
        bench.now += WAITING_ROOMS[room]
        rooms = WaitingRooms(bench.bus, cast(Any, None), lambda: bench.now, settings={})
        rooms.consumer = cast(GroupConsumer, NoConsumer())
        partition = TopicPartition(sent.topic, 0)
        [(_, confirmation)] = (await rooms.handle({partition: [message]})).values()
        await confirmed([confirmation])
        sent = bench.producer.sent[-1]
    assert sent.topic == "test.service.a"
    return writes


@pytest.mark.parametrize(
    ("seconds", "most"),
    [(HOUR - 1, 30), (DAY, 1), (DAY - 1, 23 + 30), (7 * DAY, 7), (30 * DAY - 0.5, 29 + 23 + 32)],
)
async def test_a_message_is_written_a_few_times_however_long_its_records_wait(
    bench: Bench, seconds: float, most: int
) -> None:
    began, records = bench.now, [{"n": n} for n in range(500)]
    stop = bench.stop(lambda record: Wait(until=began + seconds))
    await bench.complete(stop.handle, envelope(*records))
    [sent] = bench.producer.sent
    assert await written_until_it_comes_back(bench, sent) <= most
    assert bench.producer.sent[-1].records == records
    assert seconds <= bench.now - began < seconds + 0.25, "never early, and hardly late"
