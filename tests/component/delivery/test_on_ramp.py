"""The on-ramp: what a look at the source brings begins together, each record in its partition."""

from __future__ import annotations

from typing import Any, cast

import pytest
from aiokafka import TopicPartition
from confluent_kafka import TIMESTAMP_CREATE_TIME, Message

from metroline.agents.delivery.admission import Admission
from metroline.agents.kafka.group_consumer import GroupConsumer
from metroline.agents.kafka.group_thread import MAX_MESSAGES
from metroline.agents.on_ramp import EMPTIED_BYTES, OnRamp, SourceRenewed
from metroline.routing.journeys.tombstones import Tombstones
from metroline.routing.outcome import Ending
from metroline.routing.strategies import STRATEGIES
from tests.support.bench import Bench, confirmed, endings_of, segments_of

SOURCE = "test.source"


class FakeConsumer:
    """A consumer that counts how often messages are wanted ahead."""

    wanted = 0

    def want(self) -> None:
        self.wanted += 1


def on_ramp(bench: Bench) -> OnRamp:
    admission = Admission(bench.agent_loop.work, lambda: 0.0)
    cluster: Any = None
    made = OnRamp(
        bench.bus,
        bench.rule_tables,
        STRATEGIES["signpost"],
        cluster,
        lambda: bench.now,
        admission=admission,
        epoch=0,
        tombstones=Tombstones.DEAD,
        settings={},
    )
    made.consumer = cast(GroupConsumer, FakeConsumer())
    return made


def at(partition: int) -> TopicPartition:
    return TopicPartition(SOURCE, partition)


def messages(bench: Bench, partition: int, first: int, *values: bytes) -> list[Message]:
    written = (TIMESTAMP_CREATE_TIME, int(bench.now * 1000))
    return [
        Message(topic=SOURCE, partition=partition, offset=first + place, value=value, timestamp=written)
        for place, value in enumerate(values)
    ]


async def handled(ramp: OnRamp, fetched: dict[TopicPartition, list[Message]]) -> dict[int, int]:
    """Return the offset to commit of each partition, once everything before it is confirmed."""
    found = await ramp.handle(fetched)
    await confirmed({confirmation for _, confirmation in found.values()})
    return {partition.partition: offset for partition, (offset, _) in found.items()}


async def test_records_of_several_partitions_are_sent_to_their_first_stop_each_in_its_partition(bench: Bench) -> None:
    ramp = on_ramp(bench)
    fetched = {
        at(0): messages(bench, 0, 5, b'{"size": 1}', b'{"size": 2}\n{"size": 3}', b"nothing"),
        at(2): messages(bench, 2, 9, b'{"size": 4}'),
    }

    assert await handled(ramp, fetched) == {0: 8, 2: 10}

    sent = bench.producer
    first, second = sent.to("test.service.a")
    assert (first.partition, first.records) == (0, [{"size": 1}, {"size": 2}, {"size": 3}])
    assert [segment.ids for segment in segments_of([first])] == [(5, (6, 0, 2), (6, 1, 2))]
    assert (second.partition, second.records) == (2, [{"size": 4}])
    assert second.envelope.origin == ("source", 2)
    [malformed] = sent.to("test.arrivals")
    assert malformed.partition == 0
    assert [ending for ending, _ in endings_of([malformed]).values()] == [Ending.DEAD]


async def test_they_go_through_the_stops_of_the_worker_together(bench: Bench) -> None:
    sizes: list[list[int]] = []

    def note(records: Any) -> Any:
        return records

    stop = bench.stop(note)

    async def handle(envelope: Any, unit: Any) -> None:
        sizes.append([len(segment.ids) for segment in envelope.segments])
        await stop.handle_at_once(envelope, unit)

    bench.bus.trains.call_at("service.a", handle)
    bench.bus.trains.detours.assign({("service.a", 0): 0, ("service.a", 2): 0})
    bench.bus.trains.detours.found({("service.a", 0): 0, ("service.a", 2): 0})

    await handled(
        on_ramp(bench),
        {
            at(0): messages(bench, 0, 0, b'{"size": 1}', b'{"size": 2}'),
            at(2): messages(bench, 2, 7, b'{"size": 20}'),
        },
    )

    assert sizes == [[3]]
    assert {(one.topic, one.partition, len(one.records)) for one in bench.producer.sent} == {
        ("test.service.c", 0, 2),
        ("test.service.b", 2, 1),
    }


async def test_offsets_that_were_handled_before_are_those_of_a_new_topic(bench: Bench) -> None:
    ramp = on_ramp(bench)
    await handled(ramp, {at(1): messages(bench, 1, 4, b"{}")})

    with pytest.raises(SourceRenewed, match="set SOURCE_EPOCH to 1"):
        await ramp.handle({at(0): messages(bench, 0, 0, b"{}"), at(1): messages(bench, 1, 0, b"{}")})


async def test_more_is_fetched_while_a_look_is_handled_only_if_the_source_holds_more(bench: Bench) -> None:
    ramp = on_ramp(bench)

    ramp.looked({at(0): messages(bench, 0, 0, b"{}")})
    assert cast(FakeConsumer, ramp.consumer).wanted == 0

    ramp.looked({at(0): messages(bench, 0, 1, b"x" * EMPTIED_BYTES)})
    assert cast(FakeConsumer, ramp.consumer).wanted == 1
    assert bench.bus.metrics.entered == 2

    ramp.looked({at(0): messages(bench, 0, 2, *[b"{}"] * MAX_MESSAGES)})
    assert cast(FakeConsumer, ramp.consumer).wanted == 2, "a look that is full leaves something, however small it is"
