"""Waits that a service asks for with `Wait`: where the record is meanwhile, how it comes back, and what bounds them."""

from __future__ import annotations

import dataclasses
import datetime
from collections.abc import Callable
from typing import Any, TypedDict

import pytest
from msgspec.structs import replace

from metroline import Retry, Wait
from metroline.agents.services.service import Record
from metroline.routing.journeys.retry_policy import RetryPolicy
from metroline.routing.messages.envelope import Envelope
from metroline.routing.messages.itinerary import Decider, Decision, Itinerary
from metroline.routing.messages.segment import Attempts, Segment, Visit, Waits
from metroline.routing.outcome import Ending
from metroline.routing.records.record_types import DeclaredTypes, record_type
from tests.support.bench import Bench, Sent, endings_of, envelope, segments_of

PATIENCE = RetryPolicy(attempts=3, backoff=2.0, backoff_max=3.0)
DAY = 24 * 3600.0


async def handled(bench: Bench, handler: Any, incoming: Envelope, **service: Any) -> list[Sent]:
    """Let a stop handle an envelope to completion, and return the messages that it sent."""
    before = len(bench.producer.sent)
    await bench.complete(bench.stop(handler, **{"retry_policy": PATIENCE} | service).handle, incoming)
    return bench.producer.sent[before:]


async def only(bench: Bench, handler: Any, incoming: Envelope, **service: Any) -> tuple[Sent, Segment]:
    """Let a stop handle an envelope; return the only message that it sent, and its only segment."""
    [sent] = await handled(bench, handler, incoming, **service)
    [segment] = sent.envelope.segments
    return sent, segment


def stays(wait: Wait | Retry) -> Callable[[Record], Wait | Retry]:
    return lambda record: wait


@pytest.mark.parametrize(
    ("wait", "room", "seconds"),
    [
        (Wait(seconds=45), "30s", 45),
        (Wait(seconds=7 * DAY), "1d", 7 * DAY),
        (Wait(seconds=0), "200ms", 0.2),
        (Wait(until=1_000 + 3_600), "1h", 3_600),
        (Wait(until=datetime.datetime.fromtimestamp(1_300, datetime.UTC)), "5m", 300),
        (Wait(until=3), "200ms", 0.2),
    ],
)
async def test_a_record_waits_on_the_bus_until_its_time(bench: Bench, wait: Wait, room: str, seconds: float) -> None:
    sent, segment = await only(bench, stays(wait), envelope({"n": 1}))
    assert (sent.topic, sent.records) == (f"test.waiting.{room}", [{"n": 1}])
    assert segment.attempts == Attempts("a", (), bench.now + seconds)
    assert (segment.waits, segment.history) == (Waits("a", bench.now, 1), ())


async def test_progress_travels_with_the_record_until_it_leaves_the_stop(bench: Bench) -> None:
    answers: list[Any] = [Wait(seconds=60, progress="1 of\n3"), Wait(seconds=60), {"n": 2}]

    def poll(record: Record) -> Any:
        return answers.pop(0)

    sent, first = await only(bench, poll, envelope({"n": 1}))
    assert first.waits == Waits("a", bench.now, 1, "1 of 3")
    sent, second = await only(bench, poll, sent.envelope)
    assert second.waits == Waits("a", bench.now, 2, "1 of 3"), "a wait without progress keeps what was reported"
    _, left = await only(bench, poll, sent.envelope)
    assert (left.waits, left.waited) == (None, (Waits("a", bench.now, 2),))


async def test_a_deadline_ends_a_record_with_its_last_progress(bench: Bench) -> None:
    wait = Wait(seconds=60, progress="2 of 3")
    policy = dataclasses.replace(PATIENCE, wait_max=30)
    _, segment = await only(bench, stays(wait), envelope({"n": 1}), retry_policy=policy)
    assert segment.outcome is not None
    assert segment.outcome.detail.startswith("its service asks for a wait of 60 s (2 of 3); it has waited for 0 s")
    assert segment.waits == Waits("a", bench.now, 1, "2 of 3")


async def test_progress_that_is_no_text_is_a_dead_letter(bench: Bench) -> None:
    wait = Wait(seconds=60, progress=3)  # type: ignore[arg-type]
    _, segment = await only(bench, stays(wait), envelope({"n": 1}))
    assert segment.outcome is not None
    assert segment.outcome.reason == "bad_return: Wait(progress=3): progress must be text"


async def test_it_comes_back_to_its_service_as_it_came_and_keeps_all_of_its_attempts(bench: Bench) -> None:
    seen: list[Record] = []

    def twice(record: Record) -> Any:
        seen.append(dict(record))
        record["seen"] = len(seen)
        if len(seen) == 2:
            raise OSError("not reachable")
        return Wait(seconds=60) if len(seen) < 4 else record

    incoming = envelope({"n": 1})
    for _ in range(4):
        sent, segment = await only(bench, twice, incoming)
        incoming = sent.envelope
        bench.now += 60
        if len(seen) == 3:
            assert segment.attempts is not None
            assert len(segment.attempts.causes) == 1, "a failure in between is counted, and no wait is"
            assert len(segment.attempts.traces) == 1, "the calls that led to it are kept"
    assert seen == [{"n": 1}] * 4
    assert (sent.topic, sent.records) == ("test.service.c", [{"n": 1, "seen": 4}])
    assert (segment.attempts, segment.waits, segment.waited) == (None, None, (Waits("a", 1_000.0, 2),))
    assert segment.stops == ("a",)


class Asked(TypedDict):
    total: int


class Paid(TypedDict):
    total: int
    receipt: str


TYPES = DeclaredTypes(record_type(Asked, "Asked"), record_type(Paid, "Paid"))


async def test_a_record_that_goes_on_is_not_read_as_its_service_takes_it_again(bench: Bench) -> None:
    service = stays(Wait(seconds=1, then="next", record={"total": 5, "receipt": "r"}))
    waiting, _ = await only(bench, service, envelope({"total": 5, "x": 1}), types=TYPES, reads=TYPES.reads)
    sent, _ = await only(bench, service, waiting.envelope, types=TYPES, reads=TYPES.reads)
    assert (sent.topic, sent.records) == ("test.service.c", [{"total": 5, "x": 1, "receipt": "r"}])


async def test_a_record_that_comes_back_has_the_type_that_its_service_takes(bench: Bench) -> None:
    more: dict[str, Any] = {"types": TYPES, "reads": TYPES.reads}
    sent, _ = await only(bench, stays(Wait(seconds=45, record={"total": 6})), envelope({"total": 5, "x": 1}), **more)
    assert (sent.topic, sent.records) == ("test.waiting.30s", [{"total": 6, "x": 1}])
    _, dead = await only(bench, stays(Wait(seconds=45, record={"total": "6"})), envelope({"total": 5}), **more)
    assert dead.outcome is not None
    assert str(dead.outcome.reason).startswith("schema: Asked: it returned total")


@pytest.mark.parametrize("kind", ["plain", "async", "ordered"])
async def test_then_next_goes_on_with_its_changes_and_its_service_is_not_called_again(bench: Bench, kind: str) -> None:
    calls = 0

    def answer(record: Record) -> Wait:
        nonlocal calls
        calls += 1
        record["size"] = 11
        return Wait(seconds=DAY, then="next", record=None if record["n"] else record | {"given": True})

    async def answer_later(record: Record) -> Wait:
        return answer(record)

    service = {"ordered": True} if kind == "ordered" else {}
    handler = answer_later if kind == "async" else answer
    waiting = await handled(bench, handler, envelope({"n": 0}, {"n": 1}), **service)
    bench.now += DAY
    sent = [one for room in waiting for one in await handled(bench, handler, room.envelope, **service)]
    assert calls == 2
    assert sorted((record["n"], record.get("given")) for one in sent for record in one.records) == [
        (0, True),
        (1, None),
    ]
    assert {one.topic for one in sent} == {"test.service.b"}, "the rules decide when the record goes on, as it is then"
    for segment in segments_of(sent):
        assert segment.history == (Visit("a", bench.now, None, "unknown", 0),)
        assert (segment.is_handled, segment.waits, segment.waited) == (False, None, (Waits("a", 1_000.0, 1),))


async def test_a_record_that_is_to_go_on_at_a_time_in_the_past_goes_on_at_once(bench: Bench) -> None:
    sent, segment = await only(bench, stays(Wait(until=bench.now - 1, then="next")), envelope({"n": 1}))
    assert (sent.topic, segment.waited) == ("test.service.c", ())


async def test_a_record_that_is_given_is_the_one_that_comes_back(bench: Bench) -> None:
    sent, _ = await only(bench, lambda record: Wait(seconds=60, record={"asked": 1}), envelope({"n": 1}))
    assert sent.records == [{"asked": 1}]


async def test_records_that_wait_alike_wait_together(bench: Bench) -> None:
    sent, segment = await only(bench, stays(Wait(seconds=DAY)), envelope(*({"n": n} for n in range(500))))
    assert (sent.topic, len(segment.ids)) == ("test.waiting.1d", 500)


@pytest.mark.parametrize("then", ["again", "next"])
@pytest.mark.parametrize(("size", "to"), [(11, "switch"), (3, "service.b")])
async def test_a_record_that_changed_before_its_wait_follows_no_plan_that_its_change_makes_stale(
    bench: Bench, then: Any, size: int, to: str
) -> None:
    legs = (Decision("b", None, None, 1, frozenset({"size"})), Decider.SWITCH)
    answers: list[Any] = [Wait(seconds=1, then=then, record={"size": size}), {"size": size}]
    planned = envelope({"size": 3}, strategy="map_maker", itinerary=Itinerary(1, legs, "map-maker"))
    waiting, _ = await only(bench, lambda record: answers.pop(0), planned)
    sent, _ = await only(bench, lambda record: answers.pop(0), waiting.envelope)
    assert sent.topic == f"test.{to}"


async def test_a_wait_for_longer_than_a_record_may_wait_is_a_dead_letter_as_it_came(bench: Bench) -> None:
    patience = dataclasses.replace(PATIENCE, wait_max=DAY)
    thens: tuple[Any, ...] = ("again", "next")
    for then in thens:
        wait = Wait(seconds=DAY + 1, then=then, record={"n": 2})
        sent, segment = await only(bench, stays(wait), envelope({"n": 1}), retry_policy=patience)
        [(ending, reason)] = endings_of([sent]).values()
        asks = "its service asks for a wait of 86401 s"
        assert (ending, reason) == (
            Ending.DEAD,
            f"retries_exhausted: {asks}; it has waited for 0 s, and may wait for 86400 s in all",
        )
        assert (sent.records, segment.waits) == ([{"n": 1}], Waits("a", bench.now, 1))


async def test_a_record_does_not_wait_for_longer_than_its_journey_may_take(bench: Bench) -> None:
    sent, _ = await only(bench, stays(Wait(seconds=60)), envelope({"n": 1}), max_age=150)
    [(_, reason)] = endings_of([sent]).values()
    assert reason == "expired: the next attempt would be at an age of 160 s; at most 150 s are allowed"


class Sub(dict[str, Any]):
    pass


@dataclasses.dataclass
class Never:
    """A moment that is no time, as `NaT` of pandas: it has a time zone, and its timestamp is no number."""

    seconds: float

    def utcoffset(self) -> Never:
        return self

    def timestamp(self) -> float:
        return self.seconds


@pytest.mark.parametrize("seconds", [float("nan"), float("inf")])
async def test_a_retry_until_a_moment_that_is_no_time_is_a_dead_letter(bench: Bench, seconds: float) -> None:
    for retry in (Retry(until=Never(seconds)), Retry(after=1, until=Never(seconds))):
        [sent] = await handled(bench, stays(retry), envelope({"n": 1}))
        [(ending, reason)] = endings_of([sent]).values()
        assert ending is Ending.DEAD
        assert str(reason).startswith("bad_return: Retry(until=<Never>): until must be")


@pytest.mark.parametrize(
    ("wait", "told"),
    [
        ({}, "Wait() needs either until or seconds"),
        ({"seconds": 1, "until": 2}, "Wait() needs either until or seconds"),
        ({"seconds": -1}, "Wait(seconds=-1): seconds must be a number of seconds, 0 or more"),
        ({"seconds": float("nan")}, "Wait(seconds=nan): "),
        ({"seconds": "60"}, "Wait(seconds='60'): "),
        ({"seconds": 10**400}, "Wait(seconds=<int>): "),
        ({"until": "tomorrow"}, "Wait(until='tomorrow'): until must be a datetime with a time zone, or seconds since"),
        ({"until": datetime.datetime(2030, 1, 1)}, "Wait(until=<datetime>): "),  # noqa: DTZ001
        ({"until": Never(float("nan"))}, "Wait(until=<Never>): "),
        ({"until": Never(float("inf"))}, "Wait(until=<Never>): "),
        ({"seconds": 1, "then": "later"}, 'Wait(then=\'later\'): then must be "again" or "next"'),
        ({"seconds": 1, "record": [1]}, "Wait(record=<list>): the record must be a dict"),
    ],
)
async def test_a_wait_that_is_none_is_a_dead_letter(bench: Bench, wait: Any, told: str) -> None:
    [sent] = await handled(bench, stays(Wait(**wait)), envelope({"n": 1}))
    [(ending, reason)] = endings_of([sent]).values()
    assert ending is Ending.DEAD
    assert str(reason).startswith(f"bad_return: {told}")


async def test_a_record_that_no_json_holds_is_a_dead_letter(bench: Bench) -> None:
    for record, ending in (({"x": b""}, Ending.DEAD), (Sub(x=1), None)):
        [sent] = await handled(bench, stays(Wait(seconds=1, record=record)), envelope({"n": 1}))
        [segment] = sent.envelope.segments
        assert (segment.outcome and segment.outcome.ending) == ending


async def test_waits_are_counted_apart_from_retries(bench: Bench) -> None:
    handling = bench.bus.metrics.journeys.at_stop("a")
    sent, _ = await only(bench, stays(Wait(seconds=1)), envelope({"n": 1}))
    sent, _ = await only(bench, stays(Wait(seconds=1, then="next")), sent.envelope)
    await only(bench, stays(Wait(seconds=1)), sent.envelope)
    assert (handling.records, handling.waits, handling.retries) == (2, 2, 0)


async def test_a_dead_letter_says_how_often_it_waited_and_where(bench: Bench) -> None:
    before = envelope({"n": 1}, waits=Waits("a", 900.0, 3), waited=(Waits("b", 800.0, 1),))
    [sent] = await handled(bench, lambda record: None, before)
    [segment] = sent.envelope.segments
    assert (segment.waits, segment.waited) == (Waits("a", 900.0, 3), (Waits("b", 800.0, 1),))


async def test_a_record_that_waits_gives_up_its_place_at_an_ordered_stop(bench: Bench) -> None:
    def first_waits(record: Record) -> Any:
        return record if record["n"] else Wait(seconds=60)

    sent = await handled(bench, first_waits, envelope({"n": 0}, {"n": 1}, {"n": 2}), ordered=True)
    assert {one.topic: one.records for one in sent} == {
        "test.waiting.30s": [{"n": 0}],
        "test.service.c": [{"n": 1}, {"n": 2}],
    }


def test_what_waits_is_read_as_it_was_written() -> None:
    [segment] = envelope({"n": 1}).segments
    segment = replace(
        segment, is_handled=True, waits=Waits("a", 1.0, 2), waited=(Waits("b", 0.5, 1), Waits("c", 0.7, 4))
    )
    sent = replace(envelope({"n": 1}), segments=(segment,))
    assert Envelope.decode(sent.encode(), 0) == sent
