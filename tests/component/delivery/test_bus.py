"""The bus: output is sent until a broker has it, and a record that fits in no message is truncated, not lost."""

from __future__ import annotations

import asyncio
import hashlib

import orjson
import pytest

from metroline.agents.delivery.shipping import NO_TOPIC_ATTEMPTS
from metroline.agents.delivery.unit_of_work import UnitOfWork
from metroline.agents.kafka.producer import NoTopic, NotSent, ProducerClosed, TooLarge
from metroline.routing.addresses import service_address
from metroline.routing.journeys.dead_letters import KEPT_BYTES
from metroline.routing.journeys.departures import Departures, Limits
from metroline.routing.messages.itinerary import Hop
from metroline.routing.messages.segment import Segment, Visit
from metroline.routing.outcome import Ending, Outcome
from tests.support.bench import Bench, Sent, confirmed, endings_of, envelope, segments_of, until


async def test_a_message_is_confirmed_when_the_broker_has_it_and_not_before(bench: Bench) -> None:
    bench.producer.holds = True

    confirmation = await bench.bus.produce("test.somewhere", 3, b"value", key=b"key")

    [sent] = bench.producer.sent
    assert (sent.topic, sent.partition, sent.key, sent.value) == ("test.somewhere", 3, b"key", b"value")
    assert not confirmation.done()
    sent.confirm()
    await until(confirmation.done)
    assert confirmation.exception() is None


async def test_a_message_is_sent_again_until_the_broker_confirms_it(bench: Bench) -> None:
    answers = [NotSent(), NotSent(), None]
    bench.producer.refuse = lambda sent: answers.pop(0)

    await confirmed([await bench.bus.produce("test.somewhere", 0, b"value")])

    assert [sent.value for sent in bench.producer.sent] == [b"value"] * 3


async def test_a_record_that_no_message_can_hold_ends_cut_with_its_size_and_digest() -> None:
    bench = Bench.make(Limits(message_bytes=200_000))
    incoming = envelope({"text": "x" * 300_000})
    [line] = incoming.segments[0].lines

    await bench.complete(bench.bus.send, "service.b", incoming)

    [letter] = bench.producer.sent
    assert letter.topic == "test.arrivals"
    [(ending, reason)] = endings_of([letter]).values()
    assert ending is Ending.DEAD
    assert reason == f"too_large: the message would have {len(incoming.encode())} bytes, the maximum is 200000"
    [record] = letter.records
    assert record["raw"] == {
        "size": len(line),
        "sha256": hashlib.sha256(line).hexdigest(),
        "text": line[:KEPT_BYTES].decode(),
    }


async def test_a_record_that_is_refused_for_its_size_ends_cut(bench: Bench) -> None:
    bench.producer.refuse = lambda sent: is_over(150_000, sent)

    await bench.complete(bench.bus.send, "service.b", envelope({"text": "x" * 200_000}))

    [letter] = bench.producer.to("test.arrivals")
    [(ending, reason)] = endings_of([letter]).values()
    assert (ending, str(reason).partition(":")[0]) == (Ending.DEAD, "too_large")
    assert "more than the broker accepts" in str(reason)
    assert len(letter.value) < 2 * KEPT_BYTES


async def test_the_confirmation_of_a_refused_message_is_that_of_its_letter(bench: Bench) -> None:
    bench.producer.holds = True
    confirmation = await bench.begin(bench.bus.send, "service.b", envelope({"text": "x"}))
    bench.producer.sent[0].fail(TooLarge())
    await until(lambda: len(bench.producer.sent) == 2)

    assert not confirmation.done()
    bench.producer.sent[1].confirm()
    await until(confirmation.done)


async def test_records_whose_next_stop_has_no_topic_are_dead_letters(bench: Bench) -> None:
    bench.producer.refuse = lambda sent: NoTopic("unknown") if sent.topic == "test.service.gone" else None

    await bench.complete(bench.bus.send, "service.gone", envelope({"size": 1}, {"size": 2}))

    letters = bench.producer.to("test.arrivals")
    assert set(endings_of(letters).values()) == {
        (Ending.DEAD, "unroutable: there is no topic test.service.gone: unknown")
    }
    assert sorted(endings_of(letters)) == [0, 1]


async def test_the_topic_of_the_arrivals_is_waited_for(bench: Bench) -> None:
    answers: list[Exception | None] = [NoTopic()] * (NO_TOPIC_ATTEMPTS + 1) + [None]
    bench.producer.refuse = lambda sent: answers.pop(0)

    await bench.complete(bench.bus.send, "arrivals", envelope({"size": 1}, outcome=Outcome(Ending.DELIVERED)))

    assert {sent.topic for sent in bench.producer.sent} == {"test.arrivals"}
    assert endings_of(bench.producer.sent[-1:]) == {0: (Ending.DELIVERED, None)}


def is_over(limit: int, sent: Sent) -> Exception | None:
    return TooLarge() if len(sent.value) > limit else None


@pytest.mark.parametrize("told", [True, False], ids=["by its own bound", "by the broker"])
async def test_a_pack_that_is_too_large_is_sent_in_parts_and_only_what_is_too_large_alone_is_cut(told: bool) -> None:
    bench = Bench.make(Limits(message_bytes=4_000) if told else None)
    bench.producer.refuse = lambda sent: None if told or sent.topic == "test.arrivals" else is_over(4_000, sent)
    sizes = [500, 900, 9_000, 700, 300, 1_500]

    await bench.complete(bench.bus.send, "service.b", envelope(*({"text": "x" * size} for size in sizes)))

    went = [sent for sent in bench.producer.to("test.service.b") if len(sent.value) <= 4_000]
    assert sorted(i for segment in segments_of(went) for i in segment.ids) == [0, 1, 3, 4, 5]
    assert list(endings_of(bench.producer.to("test.arrivals"))) == [2]


async def test_records_with_long_histories_do_not_end_because_they_were_packed(bench: Bench) -> None:
    """The header of many segments, each with its history, may be larger than all their records."""
    visits = tuple(Visit("b", 1_700_000_000.123456, "a rule with quite a long name", "conductor", 1) for _ in range(60))
    departures = Departures("conductor", envelope({}).origin)
    for number in range(500):
        segment = Segment((number,), (orjson.dumps({"n": number}),), 900.0, visits)
        departures.add(segment, Hop("conductor"))

    await bench.complete(bench.bus.dispatch, departures)

    assert not bench.producer.to("test.arrivals")
    ids = [i for segment in segments_of(bench.producer.to("test.conductor")) for i in segment.ids]
    assert sorted(ids) == list(range(500))


async def test_records_stay_in_the_partition_that_they_came_from(bench: Bench) -> None:
    await bench.complete(bench.bus.send, "service.b", envelope({"size": 1}, partition=3))

    assert bench.producer.sent[0].partition == 3


async def test_what_it_sent_is_counted_by_address(bench: Bench) -> None:
    for incoming in (envelope({"size": 1}, {"size": 2}), envelope({"size": 3})):
        await bench.complete(bench.bus.send, "service.b", incoming)

    counted = bench.bus.metrics.as_json()["traffic"]["service.b"]
    assert counted == {"messages": 2, "records": 3, "bytes": sum(len(sent.value) for sent in bench.producer.sent)}


async def test_a_delivered_record_that_the_arrivals_cannot_take_is_a_dead_letter(bench: Bench) -> None:
    bench.limits = Limits(message_bytes=100_000)
    incoming = envelope({"text": "x" * 200_000}, outcome=Outcome(Ending.DELIVERED))

    await bench.complete(bench.bus.send, "arrivals", incoming)

    [letter] = bench.producer.sent
    assert endings_of([letter])[0][0] is Ending.DEAD


async def test_a_message_of_a_worker_that_has_stopped_is_not_sent_again_and_what_it_came_from_stays_open(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    bench.producer.refuse = lambda sent: ProducerClosed("the producer is closed")
    completed: list[bool] = []
    unit = UnitOfWork(bench.bus.work_time, lambda: completed.append(True))
    await bench.bus.send(service_address("a"), envelope({"n": 1}), unit)
    unit.release()
    await asyncio.sleep(0.05)

    assert len(bench.producer.sent) == 1
    assert completed == []
    assert caplog.records == []
