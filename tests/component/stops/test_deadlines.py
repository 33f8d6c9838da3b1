"""The deadline of a service: a record that comes to its stop too late ends without a call."""

from __future__ import annotations

from typing import Any

import pytest

from metroline import Retry, Wait, service
from metroline.agents.services.service import Record
from metroline.routing.errors import InvalidLine
from metroline.routing.messages.envelope import Envelope
from metroline.routing.messages.segment import Segment
from metroline.routing.outcome import Ending
from tests.support.bench import Bench, Sent, endings_of, envelope


async def only(bench: Bench, handler: Any, incoming: Envelope, **service: Any) -> tuple[Sent, Segment]:
    """Let a stop handle an envelope; return the only message that it sent, and its only segment."""
    before = len(bench.producer.sent)
    await bench.complete(bench.stop(handler, **service).handle, incoming)
    [sent] = bench.producer.sent[before:]
    [segment] = sent.envelope.segments
    return sent, segment


@pytest.mark.parametrize(("age", "is_called"), [(59, True), (60.4, False)])
async def test_a_record_older_than_the_deadline_of_a_service_is_dead_without_a_call(
    bench: Bench, age: float, is_called: bool
) -> None:
    calls: list[Record] = []

    def count(record: Record) -> Record:
        calls.append(record)
        return record

    sent, _ = await only(bench, count, envelope({"n": 1}, entered=bench.now - age), deadline=60.0)
    assert len(calls) == is_called
    if not is_called:
        [(ending, reason)] = endings_of([sent]).values()
        assert (ending, reason) == (Ending.DEAD, "expired: the journey is 60.4 s old; the deadline of a is 60 s")


@pytest.mark.parametrize("answer", [Wait(seconds=55), Retry("busy", after=55)])
async def test_no_record_waits_for_a_call_beyond_the_deadline(bench: Bench, answer: Any) -> None:
    incoming = envelope({"n": 1}, entered=bench.now - 10)
    sent, _ = await only(bench, lambda record: answer, incoming, deadline=60.0)
    [(_, reason)] = endings_of([sent]).values()
    assert reason == "expired: the next attempt would be at an age of 65 s; at most 60 s are allowed"


async def test_a_record_may_wait_beyond_the_deadline_before_it_goes_on(bench: Bench) -> None:
    incoming = envelope({"n": 1}, entered=bench.now - 10)
    waiting, _ = await only(bench, lambda record: Wait(seconds=55, then="next"), incoming, deadline=60.0)
    bench.now += 55
    sent, segment = await only(bench, lambda record: record, waiting.envelope, deadline=60.0)
    assert (sent.topic, segment.outcome) == ("test.service.c", None)


@pytest.mark.parametrize("deadline", [0, -1, float("inf"), "60"])
def test_a_deadline_that_is_none_is_refused_when_the_line_is_loaded(deadline: Any) -> None:
    with pytest.raises(InvalidLine, match="service 'price': deadline must be a number of seconds above 0, not "):

        @service(deadline=deadline)
        def price(record: Record) -> Record:
            return record
