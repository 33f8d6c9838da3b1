"""The history that records carry: how long a stop worked, which attempts failed on the way, what made a plan stale."""

from __future__ import annotations

from typing import Any

from metroline import Wait
from metroline.routing.journeys.deciders import ROUTERS, route
from metroline.routing.journeys.departures import Departures
from metroline.routing.journeys.retry_policy import RetryPolicy
from metroline.routing.messages.envelope import Envelope
from metroline.routing.messages.itinerary import Provenance
from metroline.routing.messages.segment import Attempts, Replan, Segment
from tests.support.bench import Bench, envelope, segments_of

BEGINNING = Provenance("all begin at a", "on-ramp", 1)

PLAN = """
[[rules]]
after = "source"
to = "a"

[[rules]]
after = "a"
when = "size > 10 || tall == true"
to = "b"

[[rules]]
after = "a"
to = "c"
"""


def planned(*records: dict[str, Any]) -> Envelope:
    """Return an envelope at the stop `a` whose records have the same plan."""
    bench = Bench.make(rules=PLAN)
    entered = envelope(*records, strategy="map_maker")
    departures = Departures(entered.strategy, entered.origin)
    route(departures, ROUTERS["map-maker"], entered, bench.rule_tables.rule_tables.live)
    [[segment]] = departures.by_address.values()
    return Envelope(entered.strategy, entered.origin, (segment,))


def to_switch(bench: Bench) -> list[Segment]:
    return list(segments_of(bench.producer.to("test.switch")))


async def test_a_visit_says_how_long_the_stop_worked_on_the_records_that_left_it_together(bench: Bench) -> None:
    def slow(record: dict[str, Any]) -> dict[str, Any]:
        bench.now += 0.25
        return record

    await bench.complete(bench.stop(slow).handle, envelope({"size": 1}, {"size": 2}, chosen=BEGINNING))

    [segment] = segments_of(bench.producer.sent)
    assert [(visit.stop, visit.at, visit.worked) for visit in segment.history] == [("a", bench.now, 0.5)]


async def test_a_record_that_fails_and_then_succeeds_keeps_the_times_and_causes_of_its_attempts(bench: Bench) -> None:
    def fails(record: dict[str, Any]) -> dict[str, Any]:
        if record["size"] == 1:
            raise OSError("no")
        return record

    policy = RetryPolicy(attempts=3, backoff=1.0)
    await bench.complete(bench.stop(fails, retry_policy=policy).handle, envelope({"size": 1}, chosen=BEGINNING))
    [waiting] = segments_of(bench.producer.sent)
    assert waiting.attempts is not None
    assert waiting.attempts.times == (bench.now,)

    failed_at, bench.now = bench.now, bench.now + 60
    bench.producer.sent.clear()
    mended = bench.stop(lambda record: record, retry_policy=policy)
    await bench.complete(mended.handle, Envelope("signpost", envelope({}).origin, (waiting,)))

    [segment] = segments_of(bench.producer.sent)
    [tried] = segment.retried
    assert (tried.stop, tried.times, segment.attempts) == ("a", (failed_at,), None)
    assert "OSError: no" in tried.causes[0]


def test_attempts_of_the_past_are_short() -> None:
    tried = Attempts("a", ("x" * 5_000,) * 100, 1.0, ("y" * 4_000,), (1.0,) * 100).survived()
    assert (len(tried.causes), len(tried.causes[0]), len(tried.times), tried.traces) == (8, 200, 8, ())


async def test_a_stale_plan_names_the_fields_that_the_stop_changed() -> None:
    bench = Bench.make(strategy="map_maker", rules=PLAN)

    def change(record: dict[str, Any]) -> dict[str, Any]:
        return {**record, **record["sets"]}

    changes: list[dict[str, Any]] = [{"size": 5}, {}, {"size": 6, "other": 1}, {"tall": False, "size": 7}]
    records = [{"size": 1, "sets": sets} for sets in changes]
    await bench.complete(bench.stop(change).handle, planned(*records))

    assert [(segment.ids, segment.replans) for segment in to_switch(bench)] == [
        ((0, 2), (Replan("a", ("size",)),)),
        ((3,), (Replan("a", ("size", "tall")),)),
    ]
    [on] = segments_of(bench.producer.to("test.service.c"))
    assert (on.ids, on.replans) == ((1,), ())


async def test_records_whose_plans_became_stale_stay_in_order_however_many_fields_changed() -> None:
    bench = Bench.make(strategy="map_maker", rules=PLAN)

    def change(record: dict[str, Any]) -> dict[str, Any]:
        return record | {"size": 5} if record["n"] % 2 else record | {"tall": False}

    await bench.complete(bench.stop(change).handle, planned(*({"size": 1, "n": number} for number in range(20))))

    [segment] = to_switch(bench)
    assert segment.ids == tuple(range(20))
    assert segment.replans == (Replan("a", ("size", "tall")),)


async def test_a_plan_that_becomes_stale_before_a_wait_names_the_fields_too() -> None:
    bench = Bench.make(strategy="map_maker", rules=PLAN)

    def wait(record: dict[str, Any]) -> Any:
        return Wait(seconds=30, then="next", record=record | {"size": 5})

    await bench.complete(bench.stop(wait).handle, planned({"size": 1}))

    [segment] = segments_of(bench.producer.sent)
    assert (segment.itinerary, segment.replans) == (None, (Replan("a", ("size",)),))


async def test_an_async_service_is_timed_for_each_record(bench: Bench) -> None:
    async def slow(record: dict[str, Any]) -> dict[str, Any]:
        bench.now += 0.25
        return record

    stop = bench.stop(slow, concurrency=1)
    bench.now += 10  # the time before the call is no work
    await bench.complete(stop.handle, envelope({"size": 1}, {"size": 2}, chosen=BEGINNING))

    worked = [visit.worked for segment in segments_of(bench.producer.sent) for visit in segment.history]
    assert set(worked) <= {0.25, 0.5}
    assert len(worked) in (1, 2), "records that finish together leave together"


async def test_a_service_that_keeps_the_order_is_timed_for_each_record(bench: Bench) -> None:
    def slow(record: dict[str, Any]) -> dict[str, Any]:
        bench.now += 0.25
        return record

    await bench.complete(bench.stop(slow, ordered=True).handle, envelope({"size": 1}, chosen=BEGINNING))

    [segment] = segments_of(bench.producer.sent)
    assert [visit.worked for visit in segment.history] == [0.25]


async def test_a_record_that_only_waited_was_not_worked_on_when_it_leaves(bench: Bench) -> None:
    handled = envelope({"size": 1}, chosen=BEGINNING, is_handled=True)
    await bench.complete(bench.stop(lambda record: record).handle, handled)

    [segment] = segments_of(bench.producer.sent)
    assert [visit.worked for visit in segment.history] == [None]


async def test_a_dead_letter_keeps_the_times_of_all_of_its_attempts(bench: Bench) -> None:
    def fails(record: dict[str, Any]) -> dict[str, Any]:
        bench.now += 0.25
        raise OSError("no")

    earlier = Attempts("a", ("x", "y"), 900.0, (), (890.0,))  # an earlier version kept no time of the first one
    tried = envelope({"size": 1}, chosen=BEGINNING, attempts=earlier)
    await bench.complete(bench.stop(fails, retry_policy=RetryPolicy(attempts=3)).handle, tried)

    [segment] = segments_of(bench.producer.to("test.arrivals"))
    assert segment.attempts is not None
    assert segment.attempts.times == (0.0, 890.0, bench.now)
    assert [visit.worked for visit in segment.history] == [0.25]
