"""The arrivals write delivered records as plain messages, all of a write with one confirmation."""

from __future__ import annotations

from typing import Any

from metroline.agents.kafka.producer import NOW, NotSent, SomeNotSent
from metroline.agents.kafka.topics import Topics
from metroline.routing.journeys.ends import End
from metroline.routing.messages.envelope import Envelope
from metroline.routing.messages.metadata import Metadata
from metroline.routing.outcome import Outcome
from tests.support.bench import Bench, Sent, envelope, until
from tests.support.desk import DEAD, DELIVERED, DROPPED, PARTITIONS_OF_OTHERS, PLAIN_END, Desk

TOPIC = "test.delivered"


def numbered(count: int, **segment: Any) -> Envelope:
    return envelope(*({"n": number} for number in range(count)), **segment)


async def test_each_delivered_record_is_a_message_and_those_of_all_partitions_have_one_confirmation(
    bench: Bench,
) -> None:
    desk = Desk.on(bench, PLAIN_END)
    metadata = Metadata((b"k", None), ((("type", b"x"),), None), (5, 6))
    together = (
        numbered(2, outcome=DELIVERED, metadata=metadata),
        numbered(1, first=9, outcome=DELIVERED, partition=1),
        numbered(1, first=20, outcome=DROPPED),
        numbered(1, first=30, outcome=DEAD, metadata=Metadata((b"dead",), None, None)),
    )
    units = [await bench.begin(desk.arrivals.handle, one) for one in together]
    await until(lambda: all(unit.done() for unit in units))

    delivered, dead = bench.producer.together
    assert (delivered, len(dead)) == (
        [
            (b'{"n":0}', b"k", -1, 5, [("type", b"x"), ("metroline-id", "source-0-0")]),
            (b'{"n":1}', None, 0, 6, [("metroline-id", "source-0-1")]),
            (b'{"n":0}', None, 1, NOW, [("metroline-id", "source-1-9")]),
        ],
        1,
    )
    [letter] = bench.producer.to("test.dead-letters")
    [segment] = letter.envelope.segments
    assert segment.metadata == Metadata((b"dead",), None, None), "a dead letter keeps its key"
    assert bench.bus.metrics.traffic["delivered"].messages == 3
    assert {ending for _, ending, _ in desk.counts()} == {"delivered", "dropped", "dead"}


async def test_records_are_counted_once_all_of_them_are_confirmed_and_those_that_failed_are_sent_again(
    bench: Bench,
) -> None:
    desk = Desk.on(bench, PLAIN_END)
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


ENDS = PLAIN_END | {"shipped": End(key="order"), "packed": End(is_packed=True), "spare": End()}


async def test_records_go_to_the_topic_of_their_end_in_its_form(bench: Bench) -> None:
    topics = {"shipped": "orders.shipped", "packed": "orders.packed", "spare": "orders.spare"}
    bench.topics = bench.bus.topics = Topics("test", "test.source", topics)
    desk = Desk.on(bench, ENDS)
    at_ends = {end: Outcome.delivered(end, "the rule") for end in ENDS}
    last = PARTITIONS_OF_OTHERS + 1  # a partition that the topics of others do not have
    orders = (
        envelope({"order": 7}, {"n": 1}, {"order": "x"}, outcome=at_ends["shipped"]),
        envelope({"n": 5}, first=10, outcome=at_ends["packed"], partition=last),
        envelope({"n": 6}, first=20, outcome=at_ends["spare"], partition=last),
        envelope({"n": 7}, first=30, outcome=at_ends["end"]),
        envelope({"n": 8}, first=40, outcome=Outcome.delivered("closed")),
    )
    desk.outcomes.epochs[last] = 1
    units = [await bench.begin(desk.arrivals.handle, one) for one in orders]
    await until(lambda: all(unit.done() for unit in units))

    sent = bench.producer
    assert [(one.key, one.value) for one in sent.to("orders.shipped")] == [
        (b"7", b'{"order":7}'),
        (b"x", b'{"order":"x"}'),
    ]
    assert [(one.partition, one.records) for one in sent.to("orders.packed")] == [(1, [{"n": 5}])]
    assert [(one.partition, one.value) for one in sent.to("orders.spare")] == [(1, b'{"n":6}')]
    assert [one.value for one in sent.to("test.delivered")] == [b'{"n":7}']
    letters = [letter for one in sent.to("test.dead-letters") for letter in one.envelope.segments]
    assert [(letter.ids, letter.outcome and letter.outcome.reason) for letter in letters] == [
        ((1,), "unroutable: the end 'shipped' takes its keys from the field 'order', which the record does not have"),
        ((40,), "unroutable: there is no end 'closed' in the line.toml of the worker that should deliver there"),
    ]
    assert {address: one.records for address, one in bench.bus.metrics.traffic.items() if "table" not in address} == {
        "dead-letters": 2,
        "delivered": 1,
        "end.packed": 1,
        "end.shipped": 2,
        "end.spare": 1,
    }
    assert desk.counts() == {
        ("source", "delivered", "shipped"): 2,
        ("source", "delivered", "packed"): 1,
        ("source", "delivered", "spare"): 1,
        ("source", "delivered", ""): 1,
        ("source", "dead", "unroutable"): 2,
    }
