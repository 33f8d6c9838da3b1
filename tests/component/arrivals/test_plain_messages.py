"""The arrivals write delivered records as plain messages, all of a write with one confirmation."""

from __future__ import annotations

from typing import Any

from metroline.agents.kafka.producer import NOW, NotSent, SomeNotSent
from metroline.routing.messages.envelope import Envelope
from metroline.routing.messages.metadata import Metadata
from tests.support.bench import Bench, Sent, envelope, until
from tests.support.desk import DEAD, DELIVERED, DROPPED, Desk

TOPIC = "test.delivered"


def numbered(count: int, **segment: Any) -> Envelope:
    return envelope(*({"n": number} for number in range(count)), **segment)


async def test_each_delivered_record_is_a_message_and_those_of_all_partitions_have_one_confirmation(
    bench: Bench,
) -> None:
    desk = Desk.on(bench, is_packed=False)
    metadata = Metadata((b"k", None), ((("type", b"x"),), None), (5, 6))
    together = (
        numbered(2, outcome=DELIVERED, metadata=metadata),
        numbered(1, first=9, outcome=DELIVERED, partition=1),
        numbered(1, first=20, outcome=DROPPED),
        numbered(1, first=30, outcome=DEAD, metadata=Metadata((b"dead",), None, None)),
    )
    units = [await bench.begin(desk.arrivals.handle, one) for one in together]
    await until(lambda: all(unit.done() for unit in units))

    assert bench.producer.together == [
        [
            (b'{"n":0}', b"k", -1, 5, [("type", b"x"), ("metroline-id", "source-0-0")]),
            (b'{"n":1}', None, 0, 6, [("metroline-id", "source-0-1")]),
            (b'{"n":0}', None, 1, NOW, [("metroline-id", "source-1-9")]),
        ]
    ]
    [letter] = bench.producer.to("test.dead-letters")
    [segment] = letter.envelope.segments
    assert segment.metadata == Metadata((b"dead",), None, None), "a dead letter keeps its key"
    assert bench.bus.metrics.traffic["delivered"].messages == 3
    assert {ending for _, ending, _ in desk.counts()} == {"delivered", "dropped", "dead"}


async def test_records_are_counted_once_all_of_them_are_confirmed_and_those_that_failed_are_sent_again(
    bench: Bench,
) -> None:
    desk = Desk.on(bench, is_packed=False)
    attempts = 0

    def refuse(sent: Sent) -> NotSent | None:
        nonlocal attempts
        if sent.topic != TOPIC or attempts:
            return None
        attempts += 1
        assert not desk.counts()
        return SomeNotSent("one of them", bench.producer.together[-1][1:2])

    bench.producer.refuse = refuse
    unit = await bench.begin(desk.arrivals.handle, numbered(3, outcome=DELIVERED))
    await until(unit.done)

    assert [len(messages) for messages in bench.producer.together] == [3, 1]
    assert bench.producer.together[1] == bench.producer.together[0][1:2]
    assert sum(desk.counts().values()) == 3
