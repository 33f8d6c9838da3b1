"""The agent loop: it survives any input, and acknowledges a message only after its output is confirmed."""

from __future__ import annotations

import asyncio

import orjson
import pytest

from metroline.agents.delivery.unit_of_work import UnitOfWork
from metroline.agents.services.service import Record
from metroline.routing.messages.envelope import Envelope
from metroline.routing.outcome import Ending
from tests.support.bench import Bench, carrying, endings_of, envelope, segments_of, until


def as_it_is(record: Record) -> Record:
    return record


MALFORMED = {
    "nothing": None,
    "an empty value": b"",
    "no JSON": b"{",
    "a record without a header": b'{"size":1}',
    "bytes that are no text": b"\xff\xfe",
    "another format": b'{"metroline":99,"strategy":"signpost","origin":["source",0],"segments":[]}',
    "no segments": b'{"metroline":1,"strategy":"signpost","origin":["source",0],"segments":[]}',
    "lines missing": envelope({"size": 1}, {"size": 2}).encode().rsplit(b"\n", 1)[0],
    "too many lines": envelope({"size": 1}).encode() + b"\n{}",
    "ids that are no numbers": envelope({"size": 1}).encode().replace(b'"ids":[0]', b'"ids":["x"]'),
}


async def test_the_records_of_a_strategy_that_does_not_exist_are_dead_letters(bench: Bench) -> None:
    mailbox = bench.mailbox("service.a")

    async with carrying(bench, mailbox, bench.stop(as_it_is).handle):
        mailbox.put(envelope({"size": 1}, {"size": 2}, strategy="teleport").encode(), partition=0)
        await until(lambda: mailbox.acknowledged == {0: [0]})

    [letter] = bench.producer.to("test.arrivals")
    assert letter.envelope.origin.name == "source"
    reasons = [str(reason) for _, reason in endings_of([letter]).values()]
    assert len(reasons) == 2
    assert all(reason.startswith("malformed_envelope: there is no strategy 'teleport'") for reason in reasons)


@pytest.mark.parametrize("name", MALFORMED)
async def test_a_message_that_is_no_envelope_is_one_stray_dead_letter_and_the_line_goes_on(
    bench: Bench, name: str
) -> None:
    raw, mailbox = MALFORMED[name], bench.mailbox("service.a")

    async with carrying(bench, mailbox, bench.stop(as_it_is).handle):
        mailbox.put(envelope({"size": 1}, partition=2).encode(), partition=2)
        mailbox.put(raw, partition=2)
        mailbox.put(envelope({"size": 2}, first=1, partition=2).encode(), partition=2)
        await until(lambda: mailbox.acknowledged == {2: [0, 1, 2]})

    [letter] = bench.producer.to("test.arrivals")
    assert letter.envelope.origin == ("stray:service.a", 2)
    [(ending, reason)] = endings_of([letter]).values()
    assert ending is Ending.DEAD
    assert str(reason).startswith("malformed_envelope: service.a[2]@1: ")
    [segment] = letter.envelope.segments
    assert segment.ids == (1,)
    assert orjson.loads(segment.lines[0])["raw"]["size"] == len(raw or b"")
    assert sum(len(segment.ids) for segment in segments_of(bench.producer.to("test.service.c"))) == 2


async def test_the_next_message_is_handled_while_the_last_ones_confirmations_are_under_way(bench: Bench) -> None:
    bench.producer.holds = True
    mailbox = bench.mailbox("service.a")
    for number in range(3):
        mailbox.put(envelope({"size": number}, first=number).encode())

    async with carrying(bench, mailbox, bench.stop(as_it_is).handle):
        await until(lambda: len(bench.producer.sent) == 3)
        assert not mailbox.acknowledged

        for place in (2, 1):
            bench.producer.sent[place].confirm()
        await asyncio.sleep(0)
        assert not mailbox.acknowledged
        bench.producer.sent[0].confirm()
        await until(lambda: mailbox.acknowledged == {0: [0, 1, 2]})


async def test_a_message_whose_output_the_broker_does_not_confirm_stays_open(bench: Bench) -> None:
    failing = True
    bench.producer.refuse = lambda sent: OSError("no broker") if failing else None
    mailbox = bench.mailbox("service.a")
    mailbox.put(envelope({"size": 1}).encode())

    async with carrying(bench, mailbox, bench.stop(as_it_is).handle):
        await until(lambda: len(bench.producer.sent) > 5)
        assert not mailbox.acknowledged
        failing = False
        await until(lambda: mailbox.acknowledged == {0: [0]})


async def test_a_mistake_of_the_program_ends_the_records_and_not_the_agent(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    async def mistaken(incoming: Envelope, unit: UnitOfWork) -> None:
        raise ZeroDivisionError("a mistake")

    mailbox = bench.mailbox("service.a")
    mailbox.put(envelope({"size": 1}, {"size": 2}).encode())
    async with carrying(bench, mailbox, mistaken):
        await until(lambda: mailbox.acknowledged == {0: [0]})

    letter = (Ending.DEAD, "internal_error: ZeroDivisionError: a mistake")
    assert endings_of(bench.producer.to("test.arrivals")) == {0: letter, 1: letter}
    assert "ZeroDivisionError" in caplog.text


async def test_nothing_is_routed_before_there_is_a_table(bench: Bench) -> None:
    published = bench.rules.data.pop(b"1")
    mailbox = bench.mailbox("service.a")
    mailbox.put(envelope({"size": 1}).encode())

    async with carrying(bench, mailbox, bench.stop(as_it_is).handle):
        await asyncio.sleep(0.1)
        assert not bench.producer.sent
        bench.rules.data[b"1"] = published
        await until(lambda: mailbox.acknowledged == {0: [0]})
