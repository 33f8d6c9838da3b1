"""A stop whose calls all fail pauses, tries one record from time to time, and uses up no attempts meanwhile."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable
from typing import Any

import pytest

from metroline import Drop, Retry, service
from metroline.agents.services.batching import Batching
from metroline.agents.services.service import Record
from metroline.agents.stops import circuit_breaker
from metroline.agents.stops.circuit_breaker import CircuitBreaker
from metroline.agents.stops.stop import Stop
from metroline.routing.errors import InvalidLine
from metroline.routing.journeys.retry_policy import RetryPolicy
from metroline.routing.messages.record_ids import Origin
from tests.support.bench import Bench, Mailbox, carrying, envelope, segments_of

ORIGIN = Origin("source", 0)
POLICY = RetryPolicy(attempts=5, backoff=2.0, timeout=5.0)


class Clock:
    """A clock that only the test moves."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_a_pause_is_twice_as_long_as_the_one_before_until_a_probe_succeeds() -> None:
    clock = Clock()
    breaker = CircuitBreaker("a", 3, clock)
    for number in range(3):
        assert (breaker.is_paused, breaker.wait()) == (False, 0.0)
        breaker.begin()
        breaker.failed((ORIGIN, number), "OSError: away")
    lengths = []
    for number in range(6):
        assert breaker.is_paused
        lengths.append(breaker.wait())
        clock.now += breaker.wait()
        assert breaker.wait() <= 0, "a probe may begin"
        breaker.begin()
        assert breaker.wait() > 0, "and no call beside it"
        breaker.failed((ORIGIN, number), "OSError: away")
    assert lengths == [5.0, 10.0, 20.0, 40.0, 60.0, 60.0]
    assert breaker.reason == "paused for 195 s, since all calls failed, the last one with OSError: away"
    breaker.begin()
    breaker.succeeded()
    assert not breaker.is_paused
    assert breaker.reason is None
    assert (breaker.wait(), breaker.pauses) == (0.0, 1)


def test_attempts_of_one_record_do_not_pause_a_stop_and_neither_do_failures_between_successes() -> None:
    breaker = CircuitBreaker("a", 2, Clock())
    for _ in range(10):
        breaker.failed((ORIGIN, 7), "OSError")
    assert not breaker.is_paused
    breaker.succeeded()
    breaker.failed((ORIGIN, 8), "OSError")
    assert not breaker.is_paused
    breaker.failed((ORIGIN, 9), "OSError")
    assert breaker.is_paused


def test_a_call_that_blames_its_record_makes_room_for_another_probe() -> None:
    clock = Clock()
    breaker = CircuitBreaker("a", 2, clock)
    for number in range(2):
        breaker.failed((ORIGIN, number), "OSError")
    clock.now += breaker.wait()
    breaker.begin()
    breaker.answered()
    assert (breaker.is_paused, breaker.wait() <= 0) == (True, True)


class Away:
    """A service that fails while it is away."""

    def __init__(self) -> None:
        self.is_away = True
        self.calls: list[int] = []

    def answer(self, record: Record) -> Any:
        self.calls.append(record["n"])
        if record["n"] == "no":
            raise KeyError("no")
        if self.is_away:
            raise OSError("away")
        return record

    async def answer_later(self, record: Record) -> Any:
        return self.answer(record)


def fill(mailbox: Mailbox, numbers: Iterable[int]) -> None:
    for number in numbers:
        mailbox.put(envelope({"n": number}, first=number).encode())


async def soon(holds: Any) -> None:
    async with asyncio.timeout(30):
        while not holds():
            await asyncio.sleep(0.002)


def pausing(bench: Bench, away: Away, kind: str, **more: Any) -> Stop:
    handler = away.answer_later if kind == "async" else away.answer
    return bench.stop(handler, pause_after=3, retry_policy=POLICY, **more)


@pytest.mark.parametrize("kind", ["plain", "async"])
async def test_a_stop_that_is_paused_uses_up_no_attempts_and_goes_on_once_a_probe_succeeds(
    bench: Bench, kind: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(circuit_breaker, "FIRST_PAUSE_SECONDS", 0.3)
    monkeypatch.setattr(circuit_breaker, "MAX_PAUSE_SECONDS", 0.3)
    caplog.set_level(logging.INFO)
    away, mailbox = Away(), bench.mailbox("service.a")
    fill(mailbox, range(20))
    stop = pausing(bench, away, kind)
    assert stop.gate is not None
    breaker = stop.gate.breaker
    assert breaker is not None
    async with carrying(bench, mailbox, stop.handle, stop.cancel):
        await soon(lambda: breaker.is_paused)
        assert away.calls == [0, 1, 2]
        assert not stop.accepts(0), "nothing goes to it in memory"
        await soon(lambda: len(away.calls) == 5)
        away.is_away = False
        await soon(lambda: not breaker.is_paused)
        await soon(lambda: len(mailbox.acknowledged.get(0, ())) == 20)
    failed = [one for one in segments_of(bench.producer.sent) if one.attempts is not None]
    attempts = {segment.ids[0]: len(segment.attempts.causes) for segment in failed if segment.attempts is not None}
    waits = {segment.ids[0]: segment.waits is not None for segment in failed}
    assert attempts == {0: 1, 1: 1, **dict.fromkeys(away.calls[2:5], 0)}
    assert waits == {0: False, 1: False, **dict.fromkeys(away.calls[2:5], True)}
    gone = sorted(record["n"] for one in bench.producer.to("test.service.c") for record in one.records)
    back = {record["n"] for one in bench.producer.to("test.service.a") for record in one.records}
    assert set(gone) | back | set(attempts) == set(range(20))
    said = [one.getMessage() for one in caplog.records if one.name == circuit_breaker.__name__]
    assert "the stop a pauses, since 3 records in a row failed, the last one with service_error: OSError" in said[0]
    assert said[-1].startswith("the stop a continues after a pause of ")


async def test_what_waits_in_a_stop_that_pauses_goes_back_to_its_topic(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(circuit_breaker, "FIRST_PAUSE_SECONDS", 60.0)
    away, mailbox = Away(), bench.mailbox("service.a")
    mailbox.put(envelope(*({"n": n} for n in range(50))).encode())
    stop = pausing(bench, away, "async")
    async with carrying(bench, mailbox, stop.handle, stop.cancel):
        await soon(lambda: mailbox.acknowledged == {0: [0]})
    back = [record["n"] for one in bench.producer.to("test.service.a") for record in one.records]
    assert (away.calls, back) == ([0, 1, 2], list(range(3, 50)))


class AwayFromAll(Away):
    """A service that takes lists, and fails while it is away; records below zero fail alone."""

    def __init__(self) -> None:
        super().__init__()
        self.lists: list[list[int]] = []
        self.failures = 0

    async def answer_all(self, records: list[Record]) -> list[Any]:
        self.lists.append([record["n"] for record in records])
        await asyncio.sleep(0)
        if self.is_away:
            self.failures += 1
            raise OSError("away")
        return [record if record["n"] >= 0 else OSError("below zero") for record in records]


async def test_a_batch_service_pauses_after_one_call_and_probes_with_one_record(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(circuit_breaker, "FIRST_PAUSE_SECONDS", 0.3)
    monkeypatch.setattr(circuit_breaker, "MAX_PAUSE_SECONDS", 0.3)
    away, mailbox = AwayFromAll(), bench.mailbox("service.a")
    stop = bench.stop(away.answer_all, batching=Batching(8), pause_after=3, retry_policy=POLICY)
    assert stop.gate is not None
    breaker = stop.gate.breaker
    assert breaker is not None
    async with carrying(bench, mailbox, stop.handle, stop.cancel):
        mailbox.put(envelope(*({"n": n} for n in range(20))).encode())
        await soon(lambda: mailbox.acknowledged == {0: [0]})
        assert (away.lists, breaker.is_paused) == ([list(range(8))], True)
        mailbox.put(envelope(*({"n": n} for n in range(20, 40)), first=20).encode())
        await soon(lambda: away.failures == 2)
        away.is_away = False
        await soon(lambda: not breaker.is_paused or mailbox.acknowledged == {0: [0, 1]})
        mailbox.put(envelope(*({"n": n} for n in range(40, 60)), first=40).encode())
        await soon(lambda: mailbox.acknowledged == {0: [0, 1, 2]})
    assert away.lists[1] == [20]
    assert len(away.lists[2]) == 1, "the next probe, which succeeds"
    assert len(away.lists[3]) == 8
    assert not breaker.is_paused
    failed = [one for one in segments_of(bench.producer.sent) if one.attempts is not None or one.waits is not None]
    burnt = sorted(id for one in failed if one.attempts is not None and one.attempts.causes for id in one.ids)
    waiting = sorted(id for one in failed if one.waits is not None for id in one.ids)
    assert (burnt, waiting) == ([0, 1], [2, 3, 4, 5, 6, 7, 20])
    back = [record["n"] for one in bench.producer.to("test.service.a") for record in one.records]
    gone = [record["n"] for one in bench.producer.to("test.service.c") for record in one.records]
    assert sorted([*burnt, *waiting, *back, *gone]) == list(range(60))


async def test_records_that_fail_in_a_batch_beside_others_pause_nothing(bench: Bench) -> None:
    away = AwayFromAll()
    away.is_away = False
    stop = bench.stop(away.answer_all, batching=Batching(100), pause_after=3, retry_policy=POLICY)
    await bench.complete(stop.handle, envelope(*({"n": n} for n in [*range(-50, 1)])))
    assert stop.gate is not None
    assert not stop.gate.is_closed


@pytest.mark.parametrize(
    "answer", [Drop("no"), Retry("busy", after=5), None], ids=["Drop", "Retry with a time", "bad_return"]
)
async def test_answers_other_than_failures_pause_nothing(bench: Bench, answer: Any) -> None:
    stop = bench.stop(lambda record: answer, pause_after=2, retry_policy=POLICY)
    await bench.complete(stop.handle, envelope(*({"n": n} for n in range(10))))
    assert stop.gate is not None
    assert not stop.gate.is_closed


async def test_exceptions_that_blame_the_record_pause_nothing(bench: Bench) -> None:
    def fail(record: Record) -> Record:
        raise KeyError("no")

    stop = bench.stop(fail, pause_after=2, retry_policy=POLICY, no_retry=(KeyError,))
    await bench.complete(stop.handle, envelope(*({"n": n} for n in range(10))))
    assert stop.gate is not None
    assert not stop.gate.is_closed


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"pause_after": 1}, "pause_after must be an integer of 2 or more records, not 1"),
        ({"pause_after": "2"}, "pause_after must be an integer of 2 or more records, not '2'"),
        ({"pause_after": 5, "ordered": True}, "pause_after cannot be combined with ordered"),
    ],
)
def test_what_cannot_pause_a_stop_is_refused_when_the_line_is_loaded(options: Any, told: str) -> None:
    with pytest.raises(InvalidLine, match=told):

        @service(**options)
        def price(record: Record) -> Record:
            return record
