"""The on-ramp: what a look at the source brings begins together, each record in its partition."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Collection, Sequence
from typing import Any, cast

import pytest
from aiokafka import TopicPartition
from confluent_kafka import TIMESTAMP_CREATE_TIME, Message

from metroline.agents.delivery.admission import Admission
from metroline.agents.formats.codec import Decoded, Decoder, SchemaPending
from metroline.agents.formats.source_queue import SourceQueue
from metroline.agents.kafka.group_consumer import GroupConsumer
from metroline.agents.kafka.group_thread import MAX_MESSAGES
from metroline.agents.on_ramp import EMPTIED_BYTES, OnRamp, SourceRenewed
from metroline.routing.journeys.tombstones import Tombstones
from metroline.routing.messages.itinerary import NextStep
from metroline.routing.outcome import Ending
from metroline.routing.rules.rule_meta import RuleMetas
from metroline.routing.strategies import STRATEGIES, RuleTables, Signpost
from tests.support.bench import Bench, confirmed, endings_of, segments_of

SOURCE = "test.source"


class FakeConsumer:
    """A consumer that counts how often messages are wanted ahead."""

    wanted = 0
    oldest: float | None = None

    def __init__(self) -> None:
        self.paused: set[TopicPartition] = set()

    def want(self) -> None:
        self.wanted += 1

    def pause(self, partitions: Collection[TopicPartition]) -> None:
        self.paused.update(partitions)

    def resume(self, partitions: Collection[TopicPartition]) -> None:
        self.paused.difference_update(partitions)


def on_ramp(bench: Bench, decoder: Decoder | None = None) -> OnRamp:
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
        queue=None if decoder is None else SourceQueue(decoder),
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


async def test_other_tasks_run_while_rules_take_long_for_the_records_of_a_look(bench: Bench) -> None:
    turns, seen = 0, []

    class Slow(Signpost):
        def begin(
            self, rule_tables: RuleTables, records: Sequence[dict[str, Any]], metas: RuleMetas = None
        ) -> Sequence[NextStep]:
            time.sleep(0.005 * len(records))
            seen.append(turns)
            return super().begin(rule_tables, records, metas)

    async def take_turns() -> None:
        nonlocal turns
        while True:
            await asyncio.sleep(0)
            turns += 1

    ramp = on_ramp(bench)
    ramp.strategy = Slow()
    others = asyncio.create_task(take_turns())
    fetched = {at(0): messages(bench, 0, 5, *[b'{"size": 1}'] * 100)}
    assert await handled(ramp, fetched) == {0: 105}
    others.cancel()

    assert len(seen) > 5
    assert seen[-1] - seen[0] > 5
    assert [segment.ids for segment in segments_of(bench.producer.to("test.service.a"))] == [tuple(range(5, 105))]


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

    ramp.looked({at(0): messages(bench, 0, 2, *[b"{}"] * (MAX_MESSAGES - 4))})
    assert cast(FakeConsumer, ramp.consumer).wanted == 2, (
        "a look that is full, but for the ends of partitions, leaves something"
    )


class Numbers:
    """Reads messages that hold a number; those of a schema that is not known yet begin with `?`."""

    is_away = True

    async def decode(self, values: Sequence[bytes | None]) -> Decoded:
        if self.is_away and any(value is not None and value.startswith(b"?") for value in values):
            raise SchemaPending("away")
        problems = {place: "no number" for place, value in enumerate(values) if value == b"x"}
        read = [value if value in (None, b"x") else b'{"size":%s}' % value.lstrip(b"?") for value in values if value]
        return Decoded(read, problems, ("7",) * len(values))


async def test_messages_that_wait_since_the_line_is_behind_are_as_old_as_they_are(bench: Bench) -> None:
    ramp, behind = on_ramp(bench), [1.0]
    ramp.admission = Admission(bench.agent_loop.work, lambda: behind[0])
    consumer = cast(FakeConsumer, ramp.consumer)
    await ramp.prepare()

    held = asyncio.create_task(ramp.may_take())
    while not consumer.wanted:  # so that it is known whether anything waits
        await asyncio.sleep(0)
    consumer.oldest = bench.now - 600

    assert bench.bus.metrics.behind_now == 600
    behind[0], consumer.oldest = 0.0, None
    await held
    assert bench.bus.metrics.behind_now == 0


async def test_messages_in_another_format_are_read_and_those_that_cannot_be_are_dead_letters(bench: Bench) -> None:
    ramp = on_ramp(bench, Numbers())
    fetched = {at(0): messages(bench, 0, 5, b"1", b"x"), at(1): messages(bench, 1, 9, b"20")}

    assert await handled(ramp, fetched) == {0: 7, 1: 10}

    assert [one.records for one in bench.producer.to("test.service.a")] == [[{"size": 1}], [{"size": 20}]]
    [segment] = segments_of(bench.producer.to("test.service.a")[1:])
    assert segment.metadata is not None
    assert segment.metadata.schemas == ("7",)
    [malformed] = bench.producer.to("test.arrivals")
    assert malformed.records == [{"raw": {"size": 1, "text": "x"}}]
    [dead] = segments_of([malformed])
    assert dead.outcome is not None
    assert dead.outcome.reason == "malformed_record: no number"


async def test_a_partition_waits_for_a_schema_in_order_and_the_others_do_not(bench: Bench) -> None:
    decoder = Numbers()
    ramp = on_ramp(bench, decoder)
    await ramp.prepare()
    consumer = cast(FakeConsumer, ramp.consumer)
    first = {at(0): messages(bench, 0, 5, b"1", b"?2"), at(1): messages(bench, 1, 9, b"3")}

    assert await handled(ramp, first) == {1: 10}
    assert consumer.paused == {at(0)}
    assert ramp.is_held_back(at(0))
    assert not ramp.is_held_back(at(1))
    assert ramp.held_back() == {}, "not yet"
    assert await handled(ramp, {at(0): messages(bench, 0, 7, b"4")}) == {}, "one that was fetched before"

    decoder.is_away = False
    bench.now += 1
    assert bench.bus.metrics.behind_now == 1
    again = ramp.held_back()
    assert again == {at(0): []}
    ramp.looked(again)
    assert await handled(ramp, again) == {0: 8}
    assert bench.bus.metrics.waiting() == 0

    assert consumer.paused == set()
    sent = [one for one in bench.producer.to("test.service.a") if one.partition == 0]
    assert [record for one in sent for record in one.records] == [{"size": 1}, {"size": 2}, {"size": 4}]


async def test_messages_that_wait_are_forgotten_with_their_partition(bench: Bench) -> None:
    ramp = on_ramp(bench, Numbers())
    await handled(ramp, {at(0): messages(bench, 0, 5, b"?1")})

    ramp.forget({at(0)})
    bench.now += 1

    assert ramp.held_back() == {}
    assert not ramp.is_held_back(at(0))
