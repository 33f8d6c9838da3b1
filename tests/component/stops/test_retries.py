"""Retries: the wait before each attempt, the number of attempts, and the history in the dead letter."""

from __future__ import annotations

import asyncio
import dataclasses
import datetime
import threading
import time
from collections.abc import Collection
from typing import Any, cast

import pytest
from aiokafka import TopicPartition
from confluent_kafka import TIMESTAMP_CREATE_TIME, Message
from msgspec.structs import replace

from metroline import Retry
from metroline.agents.kafka.batch_consumer import IDLE_SECONDS
from metroline.agents.kafka.group_consumer import GroupConsumer
from metroline.agents.services.service import Record
from metroline.agents.stops import calls as stop_calls
from metroline.agents.waiting_rooms import WaitingRooms
from metroline.routing.addresses import WAITING_ROOMS
from metroline.routing.journeys import requested_waits
from metroline.routing.journeys.departures import HEADER_BYTES
from metroline.routing.journeys.retry_policy import RetryPolicy
from metroline.routing.messages.envelope import Envelope
from metroline.routing.messages.record_ids import Origin
from metroline.routing.messages.segment import Attempts, Segment, Waits
from metroline.routing.outcome import Cause, Ending
from tests.support.bench import Bench, Sent, confirmed, endings_of, envelope, segments_of

PATIENCE = RetryPolicy(attempts=3, backoff=2.0, backoff_max=3.0, timeout=0.05)


def failing(record: Record) -> Record:
    if record.get("fails"):
        raise OSError("not reachable")
    return record


async def handled(bench: Bench, handler: Any, incoming: Envelope, **service: Any) -> list[Sent]:
    """Let a stop handle an envelope to completion, and return the messages that it sent."""
    before = len(bench.producer.sent)
    await bench.complete(bench.stop(handler, **{"retry_policy": PATIENCE} | service).handle, incoming)
    return bench.producer.sent[before:]


async def test_a_record_that_failed_waits_in_a_room_and_those_beside_it_go_on(bench: Bench) -> None:
    sent = await handled(bench, failing, envelope({"n": 0}, {"n": 1, "fails": True}, {"n": 2}))

    assert {one.topic: one.records for one in sent} == {
        "test.waiting.1s": [{"n": 1, "fails": True}],
        "test.service.c": [{"n": 0}, {"n": 2}],
    }
    [waiting] = segments_of(bench.producer.to("test.waiting.1s"))
    assert waiting.attempts is not None
    assert (waiting.attempts.stop, waiting.attempts.due) == ("a", bench.now + 2.0)
    [cause] = waiting.attempts.causes
    assert cause.startswith("service_error: OSError: not reachable (test_retries.py:")
    assert (waiting.history, waiting.hops) == ((), 2)


async def test_records_that_fail_alike_wait_together_and_the_waits_grow_to_their_bound(bench: Bench) -> None:
    incoming = envelope(*({"n": n, "fails": True} for n in range(5)))
    retry_policy = dataclasses.replace(PATIENCE, attempts=5)
    waits = []
    for attempt in range(1, 5):
        [sent] = await handled(bench, failing, incoming, retry_policy=retry_policy)
        [segment] = sent.envelope.segments
        assert segment.attempts is not None
        assert (len(segment.ids), len(segment.attempts.causes)) == (5, attempt)
        waits.append(segment.attempts.due - bench.now)
        incoming = sent.envelope
    assert waits == [2.0, 3.0, 3.0, 3.0]


async def test_after_the_last_attempt_a_dead_letter_names_every_cause(bench: Bench) -> None:
    incoming = envelope({"n": 1, "fails": True})
    for _ in range(3):
        [sent] = await handled(bench, failing, incoming)
        incoming = sent.envelope

    assert sent.topic == "test.arrivals"
    [(ending, reason)] = endings_of([sent]).values()
    assert (ending, str(reason)[:22]) == (Ending.DEAD, "service_error: OSError")
    [segment] = sent.envelope.segments
    assert segment.attempts is not None
    assert len(segment.attempts.causes) == len(segment.attempts.traces) == 3
    assert all(trace.startswith("test_retries.py:") for trace in segment.attempts.traces)
    assert segment.stops == ("a",), "a stop is visited once, however often it was tried"
    assert sent.records == [{"n": 1, "fails": True}]


async def test_of_many_traces_the_latest_are_kept_and_attempts_without_one_have_an_empty_one(bench: Bench) -> None:
    tried = envelope({"n": 1, "fails": True}, attempts=Attempts("a", ("x",) * 9, 0.0, ("y" * 1_000,) * 8))
    [sent] = await handled(bench, failing, tried, retry_policy=dataclasses.replace(PATIENCE, attempts=99))
    [segment] = sent.envelope.segments
    assert segment.attempts is not None
    *earlier, unknown, last = segment.attempts.traces
    assert (earlier, unknown) == ([""] * 5 + ["y" * 1_000] * 3, "")
    assert last.startswith("test_retries.py:")


async def test_the_causes_of_many_attempts_do_not_make_a_record_too_large(bench: Bench) -> None:
    tried = envelope({"n": 0}, attempts=Attempts("a", ("x" * 2_000,) * 998, 0.0))
    patience = dataclasses.replace(PATIENCE, attempts=1_000)
    for _ in range(2):
        [sent] = await handled(bench, lambda record: Retry("y" * 9_000), tried, retry_policy=patience)
        tried = sent.envelope
        assert len(sent.value) < HEADER_BYTES
    assert sent.topic == "test.arrivals"


async def test_what_succeeds_at_last_forgets_its_attempts(bench: Bench) -> None:
    tried = envelope({"n": 1}, attempts=Attempts("a", ("service_error: x", "service_error: y"), 0.0))
    [sent] = await handled(bench, failing, tried)
    [segment] = sent.envelope.segments
    assert (sent.topic, segment.attempts) == ("test.service.c", None)


async def test_attempts_at_another_stop_do_not_count(bench: Bench) -> None:
    tried = envelope({"n": 1, "fails": True}, attempts=Attempts("b", ("x", "y", "z"), 0.0))
    [sent] = await handled(bench, failing, tried)
    assert sent.topic == "test.waiting.1s"


async def test_retry_waits_as_long_as_it_asks_for(bench: Bench) -> None:
    [sent] = await handled(bench, lambda record: Retry("busy", after=45), envelope({"n": 1}))
    [segment] = sent.envelope.segments
    assert sent.topic == "test.waiting.30s"
    assert segment.attempts == Attempts("a", (), bench.now + 45)
    assert segment.waits == Waits("a", bench.now, 1)


async def waited(bench: Bench, answer: Any, seconds: float, **service: Any) -> tuple[int, Segment]:
    """Let a record wait as often as its service asks, `seconds` at a time; return how often, and its end."""
    record, times = envelope({"n": 1}, entered=bench.now), 0
    while True:
        [sent] = await handled(bench, answer, record, **service)
        [segment] = sent.envelope.segments
        if segment.outcome is not None:
            return times, segment
        assert segment.attempts is not None
        bench.now = max(bench.now + seconds, segment.attempts.due)
        record, times = sent.envelope, times + 1


@pytest.mark.parametrize("ordered", [False, True])
async def test_a_wait_that_a_service_asks_for_uses_up_no_attempt(
    bench: Bench, ordered: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(requested_waits, "MIN_WAIT_SECONDS", 0.001)  # those behind an ordered record wait in real time
    asked = 0

    def busy(record: Record) -> Any:
        nonlocal asked
        asked += 1
        if asked == 10:
            raise OSError("and then it fails")
        return record if asked == 20 else Retry("busy", after=0.001)

    patience, record = dataclasses.replace(PATIENCE, backoff=0.001), envelope({"n": 1})
    while asked < 20:
        [sent] = await handled(bench, busy, record, ordered=ordered, retry_policy=patience)
        record = sent.envelope
    [segment] = record.segments
    assert (sent.topic, segment.attempts, segment.waits) == ("test.service.c", None, None)


@pytest.mark.parametrize(
    ("until", "after", "times"),
    [
        (1_000.0 + 250, 60, 4),
        (1_250, 60, 4),
        (datetime.datetime.fromtimestamp(1_250, datetime.UTC), 60, 4),
        (1_000.0, 60, 0),
        (0, 1, 0),
        (1_250, 300, 0),
    ],
)
async def test_a_record_is_not_tried_again_after_the_time_that_its_service_names(
    bench: Bench, until: Any, after: float, times: int
) -> None:
    waits, end = await waited(bench, lambda record: Retry("busy", after=after, until=until), after)
    assert waits == times
    assert end.outcome is not None
    assert (
        end.outcome.reason
        == "retries_exhausted: busy; the next attempt would be later than its service allows with until"
    )
    assert end.waits == Waits("a", 1_000.0, times + 1)


async def test_with_until_alone_the_waits_grow_and_use_up_no_attempt(bench: Bench) -> None:
    waits, end = await waited(bench, lambda record: Retry("busy", until=1_100.0), 0)
    assert waits == 2 + (100 - 2 - 3) // 3 + 1, "2, 3, 3, ... seconds, and the rest"
    assert end.outcome is not None
    assert end.outcome.cause is Cause.RETRIES_EXHAUSTED


async def test_a_record_waits_no_longer_than_it_may_in_all(bench: Bench) -> None:
    patience = dataclasses.replace(PATIENCE, wait_max=600.0)
    waits, end = await waited(bench, lambda record: Retry("busy", after=60), 60, retry_policy=patience)
    assert waits == 10
    assert end.outcome is not None
    assert end.outcome.reason == "retries_exhausted: busy; it has waited for 600 s, and may wait for 600 s in all"


async def test_a_record_does_not_wait_for_longer_than_its_journey_may_take(bench: Bench) -> None:
    waits, end = await waited(bench, lambda record: Retry("busy", after=60), 60, max_age=150.0)
    assert waits == 2
    assert end.outcome is not None
    assert end.outcome.reason == "expired: the next attempt would be at an age of 180 s; at most 150 s are allowed"


async def test_a_wait_is_never_so_short_that_a_record_runs_in_circles(bench: Bench) -> None:
    [sent] = await handled(bench, lambda record: Retry("busy", after=1e-9), envelope({"n": 1}))
    assert sent.topic == "test.waiting.200ms"


@pytest.mark.parametrize(
    "until",
    [float("nan"), float("inf"), -1, 10**400, "tomorrow", True, datetime.datetime(2030, 1, 1)],  # noqa: DTZ001
)
async def test_a_time_that_is_none_is_a_dead_letter(bench: Bench, until: Any) -> None:
    [sent] = await handled(bench, lambda record: Retry("busy", until=until), envelope({"n": 1}))
    [(_, reason)] = endings_of([sent]).values()
    assert str(reason).startswith("bad_return: Retry(until=")


async def test_waits_at_another_stop_do_not_count(bench: Bench) -> None:
    before = envelope({"n": 1}, waits=Waits("b", 0.0, 7), attempts=Attempts("b", ("x",), 0.0))
    [sent] = await handled(bench, lambda record: Retry("busy", after=60), before)
    [segment] = sent.envelope.segments
    assert (segment.attempts, segment.waits) == (Attempts("a", (), bench.now + 60), Waits("a", bench.now, 1))


@pytest.mark.parametrize("after", [-1, float("nan"), float("inf"), "5", 1e9, None, True])
async def test_a_retry_that_asks_for_no_time_is_a_dead_letter(bench: Bench, after: Any) -> None:
    [sent] = await handled(bench, lambda record: Retry("busy", after=after), envelope({"n": 1}))
    [(ending, reason)] = endings_of([sent]).values()
    assert ending is Ending.DEAD
    assert str(reason).startswith("bad_return: Retry(after=")


async def test_what_a_service_names_is_not_tried_again(bench: Bench) -> None:
    [sent] = await handled(bench, failing, envelope({"fails": True}), no_retry=(ConnectionError, OSError))
    assert sent.topic == "test.arrivals"
    [segment] = sent.envelope.segments
    assert segment.attempts is not None
    assert (len(segment.attempts.causes), len(segment.attempts.traces)) == (1, 1)


async def test_a_very_short_wait_goes_straight_back_to_the_stop(bench: Bench) -> None:
    retry_policy = dataclasses.replace(PATIENCE, backoff=0.05)
    [sent] = await handled(bench, failing, envelope({"fails": True}), retry_policy=retry_policy)
    assert sent.topic == "test.service.a"


async def test_a_coroutine_past_its_timeout_is_cancelled_and_tried_again(bench: Bench) -> None:
    ended = []

    async def slow(record: Record) -> Record:
        try:
            await asyncio.sleep(record["takes"])
        finally:
            ended.append(record["takes"])
        return record

    sent = await handled(bench, slow, envelope({"takes": 60}, {"takes": 0}))
    assert ended == [60, 0]
    [waiting] = segments_of([one for one in sent if one.topic == "test.waiting.1s"])
    assert waiting.attempts is not None
    assert waiting.attempts.causes == ("timeout: no answer within 0.05 s",)
    assert waiting.ids == (0,)


async def test_a_timeout_of_its_own_is_an_error_of_the_service(bench: Bench) -> None:
    async def own(record: Record) -> Record:
        raise TimeoutError("the database took too long")

    [sent] = await handled(bench, own, envelope({"n": 1}), retry_policy=dataclasses.replace(PATIENCE, attempts=1))
    [(_, reason)] = endings_of([sent]).values()
    assert str(reason).startswith("service_error: TimeoutError: the database took too long")


async def test_a_blocking_service_runs_in_a_thread_and_does_not_stop_the_event_loop(bench: Bench) -> None:
    turns = 0

    async def turning() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0.001)

    def blocking(record: Record) -> Record:
        time.sleep(0.03)
        record["thread"] = threading.current_thread() is threading.main_thread()
        return record

    beside = asyncio.create_task(turning())
    retry_policy = dataclasses.replace(PATIENCE, timeout=5.0)
    sent = await handled(bench, blocking, envelope({"n": 1}, {"n": 2}), is_blocking=True, retry_policy=retry_policy)
    beside.cancel()
    assert [record for one in sent for record in one.records] == [{"n": n, "thread": False} for n in (1, 2)]
    assert turns > 10


async def test_a_blocking_service_takes_as_many_records_at_once_as_it_says(bench: Bench) -> None:
    together = threading.Barrier(3, timeout=5)

    def meet(record: Record) -> Record:
        together.wait()
        return record

    retry_policy = dataclasses.replace(PATIENCE, timeout=5.0)
    incoming = envelope(*({"n": n} for n in range(6)))
    sent = await handled(bench, meet, incoming, concurrency=3, is_blocking=True, retry_policy=retry_policy)
    assert sorted(record["n"] for one in sent for record in one.records) == list(range(6))


async def test_a_thread_past_its_timeout_is_given_up_and_only_so_many_may_be(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate, running = threading.Event(), []

    def hang(record: Record) -> Record:
        running.append(record["n"])
        gate.wait(10)
        return record

    monkeypatch.setattr(stop_calls, "MAX_GIVEN_UP", 8)
    stop = bench.stop(hang, is_blocking=True, retry_policy=dataclasses.replace(PATIENCE, timeout=0.01))
    handling = asyncio.create_task(bench.complete(stop.handle, envelope(*({"n": n} for n in range(10)))))
    async with asyncio.timeout(30):
        while len(running) < 8:
            await asyncio.sleep(0.01)
        await asyncio.sleep(0.1)
        assert len(running) == 8, "the ninth waits until a thread has ended"
        gate.set()
        await handling
    waiting = segments_of(bench.producer.to("test.waiting.1s"))
    assert sum(len(segment.ids) for segment in waiting) >= 8


async def test_whatever_a_thread_raises_is_told(bench: Bench) -> None:
    def leave(record: Record) -> Record:
        raise (SystemExit, StopIteration, KeyboardInterrupt)[record["n"]]("out")

    sent = await handled(
        bench, leave, envelope({"n": 0}, {"n": 1}), is_blocking=True, retry_policy=RetryPolicy(attempts=1, timeout=5)
    )
    assert sorted(str(reason).split(" (")[0] for _, reason in endings_of(sent).values()) == [
        "service_error: StopIteration: out",
        "service_error: SystemExit: out",
    ]


async def test_a_journey_that_is_too_old_ends_before_its_next_stop(bench: Bench) -> None:
    old, young = envelope({"n": 1}, entered=bench.now - 61), envelope({"n": 2}, entered=bench.now - 59)
    sent = await handled(bench, failing, replace(old, segments=(*old.segments, *young.segments)), max_age=60)
    letters = [one for one in sent if one.topic == "test.arrivals"]
    assert [one.records for one in letters] == [[{"n": 1}]]
    [(_, reason)] = endings_of(letters).values()
    assert reason == "expired: the journey is 61 s old; at most 60 s are allowed"
    assert [one.records for one in sent if one.topic == "test.service.c"] == [[{"n": 2}]]


class FakeConsumer:
    """A consumer that records the calls of the waiting rooms."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, Collection[TopicPartition]]] = []

    def pause(self, partitions: Collection[TopicPartition]) -> None:
        self.asked.append(("pause", partitions))

    def resume(self, partitions: Collection[TopicPartition]) -> None:
        self.asked.append(("resume", partitions))


def message(room: str, offset: int, at: float, value: bytes) -> Message:
    timestamp = (TIMESTAMP_CREATE_TIME, int(at * 1000))
    return Message(topic=f"test.{room}", partition=0, offset=offset, value=value, timestamp=timestamp)


def waiting_for(stop: str, due: float, number: int) -> bytes:
    segment = Segment(
        (number,), (b'{"n":%d}' % number,), 900.0, hops=3, attempts=Attempts(stop, ("service_error: x",), due)
    )
    return Envelope("signpost", Origin("source", 0), (segment,)).encode()


def rooms(bench: Bench, consumer: FakeConsumer | None = None) -> WaitingRooms:
    cluster: Any = None
    waiting = WaitingRooms(bench.bus, cluster, lambda: bench.now, settings={})
    waiting.consumer = cast(GroupConsumer, consumer or FakeConsumer())
    return waiting


async def let_in(waiting: WaitingRooms, partition: TopicPartition, *messages: Message) -> int | None:
    """Hand messages to the rooms; return the next offset once everything before it is confirmed."""
    handled = (await waiting.handle({partition: list(messages)})).get(partition)
    if handled is None:
        return None
    await confirmed([handled[1]])
    return handled[0]


async def test_a_room_sends_on_what_is_due_and_holds_what_is_not(bench: Bench) -> None:
    partition = TopicPartition("test.waiting.5s", 0)
    came = [bench.now - 6, bench.now - 5.5, bench.now - 4, bench.now - 3.9]
    messages = [message("waiting.5s", n, at, waiting_for("a", at + 5, n)) for n, at in enumerate(came)]
    consumer = FakeConsumer()
    waiting = rooms(bench, consumer)

    assert await let_in(waiting, partition, *messages[:3]) == 2
    assert [one.records for one in bench.producer.sent] == [[{"n": 0}], [{"n": 1}]]
    assert consumer.asked == [("pause", [partition])]
    assert waiting.held_back() == {}
    assert waiting.wait_seconds() == IDLE_SECONDS
    assert await let_in(waiting, partition, *messages[3:]) is None  # it was fetched before the pause

    bench.now += 0.95
    assert waiting.wait_seconds() == pytest.approx(0.05)
    bench.now += 0.1
    assert waiting.held_back() == {partition: []}
    assert await let_in(waiting, partition) == 3
    assert consumer.asked == [("pause", [partition])]

    bench.now += 0.1
    assert await let_in(waiting, partition) == 4
    assert [one.records for one in bench.producer.sent] == [[{"n": number}] for number in range(4)]
    assert consumer.asked == [("pause", [partition]), ("resume", [partition])]
    assert waiting.held_back() == {}


async def test_what_a_room_holds_of_a_partition_that_others_own_is_forgotten(bench: Bench) -> None:
    partition = TopicPartition("test.waiting.5s", 0)
    waiting = rooms(bench)
    await waiting.assigned([partition])
    await let_in(waiting, partition, message("waiting.5s", 0, bench.now, waiting_for("a", bench.now + 5, 0)))

    await waiting.revoked([partition], time.monotonic() + 5)
    bench.now += 6

    assert waiting.held_back() == {}
    assert waiting.wait_seconds() == IDLE_SECONDS


async def test_a_message_from_the_future_stays_no_longer_than_its_room_is_for(bench: Bench) -> None:
    partition, ahead = TopicPartition("test.waiting.5s", 0), bench.now + 3_600
    waiting = rooms(bench)

    await let_in(waiting, partition, message("waiting.5s", 4, ahead, waiting_for("a", bench.now, 1)))
    bench.now += 4.9
    assert waiting.held_back() == {}
    bench.now += 0.2
    assert await let_in(waiting, partition) == 5
    assert [one.topic for one in bench.producer.sent] == ["test.service.a"]


@pytest.mark.parametrize(
    ("left", "to"),
    [
        *((0.0, "service.b"), (-5.0, "service.b"), (0.1, "service.b"), (0.5, "waiting.200ms"), (4.0, "waiting.1s")),
        *((5.0, "waiting.5s"), (299.0, "waiting.30s"), (3_599.0, "waiting.5m"), (86_399.0, "waiting.1h")),
        *((86_400.0, "waiting.1d"), (7 * 86_400.0, "waiting.1d")),
    ],
)
async def test_a_long_wait_goes_from_room_to_room(bench: Bench, left: float, to: str) -> None:
    come = message("waiting.200ms", 7, bench.now - 1, waiting_for("b", bench.now + left, 1))
    await let_in(rooms(bench), TopicPartition("test.waiting.200ms", 0), come)
    [sent] = bench.producer.sent
    assert sent.topic == f"test.{to}"
    [segment] = sent.envelope.segments
    assert segment.attempts == Attempts("b", ("service_error: x",), bench.now + left)


@pytest.mark.parametrize(
    "value", [b"nothing", b"", Envelope("x", Origin("s", 0), (Segment((0,), (b"{}",), 0.0),)).encode()]
)
async def test_what_is_no_envelope_that_waits_is_a_dead_letter(bench: Bench, value: bytes) -> None:
    come = message("waiting.1s", 3, bench.now - 2, value)
    await let_in(rooms(bench), TopicPartition("test.waiting.1s", 0), come)
    [(ending, reason)] = endings_of(bench.producer.to("test.arrivals")).values()
    assert ending is Ending.DEAD
    assert str(reason).startswith("malformed_envelope: waiting.1s[0]@3: not an envelope")


def test_rooms_are_known_by_their_times() -> None:
    assert list(WAITING_ROOMS.values()) == sorted(WAITING_ROOMS.values())
    assert all(address.startswith("waiting.") for address in WAITING_ROOMS)
