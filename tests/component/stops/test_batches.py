"""A service with batch=True: it gets the records that are there at once, and answers for each."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest

from metroline import Drop, Retry, Wait
from metroline.agents.services.batching import Batching
from metroline.agents.services.service import Record
from metroline.agents.stops.stop import Stop
from metroline.routing.journeys.retry_policy import RetryPolicy
from metroline.routing.meta import Meta
from metroline.routing.outcome import Ending
from tests.support.bench import Bench, carrying, endings_of, envelope, until

CALL_SECONDS = 0.05


def stop_of(bench: Bench, handler: Any, batching: Batching | None = None, **more: Any) -> Stop:
    return bench.stop(handler, batching=batching or Batching(), **more)


def as_they_are(records: list[Record]) -> list[Record]:
    return records


async def ended(bench: Bench, handler: Any, *records: Record, **more: Any) -> dict[Any, Any]:
    """Run a batch service on records that come in one envelope; return the outcomes of those whose journey ends."""
    await bench.complete(stop_of(bench, handler, **more).handle, envelope(*records))
    return endings_of(bench.producer.to("test.arrivals"))


def gone_on(bench: Bench) -> list[Record]:
    return [record for one in bench.producer.to("test.service.c") for record in one.records]


@pytest.mark.parametrize("way", ["plain", "async", "blocking"])
async def test_it_gets_the_records_of_all_messages_that_are_there(bench: Bench, way: str) -> None:
    calls: list[list[int]] = []

    def double(records: list[Record]) -> list[Record]:
        calls.append([record["size"] for record in records])
        time.sleep(0.01 if way == "blocking" else 0)
        return [{"size": -record["size"]} for record in records]

    async def double_later(records: list[Record]) -> list[Record]:
        await asyncio.sleep(0.01)
        return double(records)

    stop = stop_of(bench, double_later if way == "async" else double, Batching(40), is_blocking=way == "blocking")
    mailbox = bench.mailbox("service.a")
    for number in range(1, 101):
        mailbox.put(envelope({"size": number}, first=number).encode())
    async with carrying(bench, mailbox, stop.handle, stop.cancel):
        await until(lambda: mailbox.acknowledged == {0: list(range(100))})
    assert [size for call in calls for size in call] == list(range(1, 101)), "in order, with one call at a time"
    assert all(len(call) <= 40 for call in calls)
    assert len(calls) <= 20
    assert [record["size"] for record in gone_on(bench)] == list(range(-1, -101, -1))


async def test_a_stop_of_slow_calls_handles_as_many_records_a_second_as_batches_hold(bench: Bench) -> None:
    async def write(records: list[Record]) -> list[Record]:
        await asyncio.sleep(CALL_SECONDS)
        return records

    stop = stop_of(bench, write, Batching(100))
    mailbox = bench.mailbox("service.a")
    for number in range(1_000):
        mailbox.put(envelope({"size": 1}, first=number).encode())
    began = time.monotonic()
    async with carrying(bench, mailbox, stop.handle, stop.cancel):
        await until(lambda: len(mailbox.acknowledged.get(0, ())) == 1_000, 30)
    assert time.monotonic() - began < 10, "one after the other, the calls would take 50 s"


async def test_a_record_waits_for_others_no_longer_than_max_wait(bench: Bench) -> None:
    sizes: list[int] = []

    async def note(records: list[Record]) -> list[Record]:
        sizes.append(len(records))
        return records

    stop = stop_of(bench, note, Batching(3, 2.0), concurrency=4)
    mailbox = bench.mailbox("service.a")
    began = time.monotonic()
    async with carrying(bench, mailbox, stop.handle, stop.cancel):
        for number in range(3):
            mailbox.put(envelope({"size": 1}, first=number).encode())
            await asyncio.sleep(0.02)
        await until(lambda: sizes == [3])
        assert time.monotonic() - began < 2.0, "a full batch waits for nobody"
        mailbox.put(envelope({"size": 1}, first=3).encode())
        await until(lambda: sizes == [3, 1])
        assert time.monotonic() - began >= 2.0


async def test_each_record_ends_as_its_own_answer_says(bench: Bench) -> None:
    class Answers(list[Any]):
        def __iter__(self) -> Any:
            raise RuntimeError("the methods of a subclass are not called")

    def answer(records: list[Record]) -> Any:
        return Answers([records[0], Drop("two"), Retry("three"), ValueError("no four"), None])

    found = await ended(bench, answer, *[{"size": number} for number in range(1, 6)])
    assert found == {
        1: (Ending.DROPPED, "two"),
        2: (Ending.DEAD, "retries_exhausted: three"),
        3: (Ending.DEAD, "service_error: ValueError: no four"),
        4: (Ending.DEAD, "bad_return: NoneType, not a dict, Drop, Retry or Wait"),
    }
    assert gone_on(bench) == [{"size": 1}]


async def test_a_stop_that_takes_no_more_records_does_not_wait_for_them(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("metroline.agents.stops.concurrency.MAX_HELD_BYTES", 40)
    stop, began = stop_of(bench, as_they_are, Batching(100, 30.0)), time.monotonic()
    await bench.complete(stop.handle, envelope(*[{"size": 1}] * 10))
    assert time.monotonic() - began < 5


async def test_records_of_a_batch_wait_each_by_itself_and_a_handled_one_is_not_handed_over_again(bench: Bench) -> None:
    calls: list[list[int]] = []

    def answer(records: list[Record]) -> list[Any]:
        calls.append([record["size"] for record in records])
        for record in records:
            record["seen"] = True
        return [Wait(seconds=400), Wait(seconds=45, then="next"), *records[2:]] if len(records) > 1 else records

    stop = stop_of(bench, answer)
    await bench.complete(stop.handle, envelope({"size": 1}, {"size": 2}, {"size": 3}))
    (again,), (onward,) = bench.producer.to("test.waiting.5m"), bench.producer.to("test.waiting.30s")
    assert (again.records, onward.records) == ([{"size": 1}], [{"size": 2, "seen": True}])
    assert gone_on(bench) == [{"size": 3, "seen": True}]

    await bench.complete(stop.handle, onward.envelope)
    await bench.complete(stop.handle, again.envelope)
    assert gone_on(bench)[1:] == [{"size": 2, "seen": True}, {"size": 1, "seen": True}]
    assert calls == [[1, 2, 3], [1]]


async def test_exceptions_that_are_not_retried_end_their_record_at_once(bench: Bench) -> None:
    def answer(records: list[Record]) -> list[Any]:
        return [ValueError("never"), OSError("perhaps later")]

    stop = stop_of(bench, answer, no_retry=(ValueError,), retry_policy=RetryPolicy(attempts=3))
    await bench.complete(stop.handle, envelope({"size": 1}, {"size": 2}))
    assert endings_of(bench.producer.to("test.arrivals")) == {0: (Ending.DEAD, "service_error: ValueError: never")}
    (again,) = bench.producer.to("test.waiting.200ms")
    assert [segment.ids for segment in again.envelope.segments] == [(1,)]


@pytest.mark.parametrize("way", ["plain", "async", "blocking"])
async def test_a_call_that_fails_is_a_failed_attempt_of_each_record(bench: Bench, way: str) -> None:
    def fail(records: list[Record]) -> list[Record]:
        raise ConnectionError("the database is away")

    async def fail_later(records: list[Record]) -> list[Record]:
        return fail(records)

    handler = fail_later if way == "async" else fail
    stop = stop_of(bench, handler, is_blocking=way == "blocking", retry_policy=RetryPolicy(attempts=2, backoff=1))
    await bench.complete(stop.handle, envelope({"size": 1}, {"size": 2}))
    (again,) = bench.producer.to("test.waiting.1s")
    (segment,) = again.envelope.segments
    assert segment.ids == (0, 1)
    assert segment.attempts is not None
    assert segment.attempts.causes[0].startswith(
        "service_error: ConnectionError: the database is away (test_batches.py"
    )


async def test_a_call_that_takes_too_long_is_a_failed_attempt_of_each_record(bench: Bench) -> None:
    async def hang(records: list[Record]) -> list[Record]:
        await asyncio.sleep(60)
        return records

    policy = RetryPolicy(attempts=1, timeout=0.02)
    found = await ended(bench, hang, {"size": 1}, {"size": 2}, retry_policy=policy)
    assert found == dict.fromkeys((0, 1), (Ending.DEAD, "timeout: no answer within 0.02 s"))


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        ([{}], "1 answers for 2 records: return one for each, in their order"),
        ([{}] * 3, "3 answers for 2 records: return one for each, in their order"),
        ({}, "dict, not a list with an answer for each record of the batch"),
        (None, "NoneType, not a list with an answer for each record of the batch"),
        (iter([{}, {}]), "list_iterator, not a list with an answer for each record of the batch"),
    ],
)
async def test_an_answer_that_is_no_list_with_one_for_each_ends_all_records(
    bench: Bench, answer: Any, reason: str
) -> None:
    found = await ended(bench, lambda records: answer, {"size": 1}, {"size": 2})
    assert found == dict.fromkeys((0, 1), (Ending.DEAD, f"bad_return: {reason}"))


async def test_a_line_that_is_no_record_is_left_out_of_its_batch(bench: Bench) -> None:
    whole = envelope({"size": 1}, {"size": 2}, {"size": 3})
    (segment,) = whole.segments
    broken = whole.__class__(
        whole.strategy, whole.origin, (segment.__class__(segment.ids, (segment.lines[0], b"{", segment.lines[2]), 0.0),)
    )
    handed: list[int] = []

    def note(records: list[Record]) -> list[Record]:
        handed.extend(record["size"] for record in records)
        return records

    await bench.complete(stop_of(bench, note).handle, broken)
    (ending,) = endings_of(bench.producer.to("test.arrivals")).values()
    assert ending[1] is not None
    assert ending[1].startswith("malformed_record")
    assert handed == [1, 3]
    assert gone_on(bench) == [{"size": 1}, {"size": 3}]


async def test_ids_and_metadata_come_as_lists(bench: Bench) -> None:
    told: list[Any] = []

    def note(records: list[Record], ids: list[str], metas: list[Meta]) -> list[Record]:
        told.append((ids, [meta.offset for meta in metas]))
        return records

    stop = stop_of(bench, note, takes_id=True, takes_meta=True)
    await bench.complete(stop.handle, envelope({"size": 1}, {"size": 2}, first=7))
    assert told == [(["source-0-7", "source-0-8"], [7, 8])]


async def test_what_cannot_be_handled_in_time_goes_back_to_the_stop(bench: Bench) -> None:
    async def hold(records: list[Record]) -> list[Record]:
        bench.now += 10
        return records

    stop = stop_of(bench, hold, Batching(2), pack_seconds=5)
    await bench.complete(stop.handle, envelope(*[{"size": number} for number in range(5)]))
    (back,) = bench.producer.to("test.service.a")
    assert [record["size"] for record in back.records] == [2, 3, 4]
    assert [record["size"] for record in gone_on(bench)] == [0, 1]


async def test_the_stop_has_room_for_two_batches_of_each_call(bench: Bench) -> None:
    gate = asyncio.Event()

    async def wait(records: list[Record]) -> list[Record]:
        await gate.wait()
        return records

    stop = stop_of(bench, wait, Batching(5))
    confirmation = await bench.begin(stop.handle, envelope(*[{"size": 1}] * 9))
    assert stop.accepts(0)
    more = await bench.begin(stop.handle, envelope({"size": 1}, first=9))
    assert not stop.accepts(0)
    gate.set()
    await asyncio.wait_for(asyncio.gather(confirmation, more), 5)
    assert stop.accepts(0)
