"""Ordered stops: records behind one that is retried wait for it, and all other records go on."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from metroline.agents.services.service import Record
from metroline.routing.journeys.retry_policy import RetryPolicy
from metroline.routing.outcome import Ending
from tests.support.bench import Bench, confirmed, endings_of, envelope, segments_of
from tests.support.worlds import examples

AT_ONCE = RetryPolicy(attempts=4, backoff=0.001, backoff_max=0.001)


def failing_until(attempt: int) -> tuple[Callable[[Record], Record], list[tuple[Any, Any]]]:
    """Return a service that raises for some records before this attempt, and the list of its calls in order."""
    calls: list[tuple[Any, Any]] = []

    def service(record: Record) -> Record:
        calls.append((record.get("key"), record["n"]))
        if record.get("fails") and calls.count((record.get("key"), record["n"])) < attempt:
            raise OSError("not yet")
        return record

    return service, calls


def went_on(bench: Bench) -> list[int]:
    """Return the records that left for the next stop, in the order in which they were sent."""
    return [record["n"] for sent in bench.producer.to("test.service.c") for record in sent.records]


@pytest.mark.parametrize("is_async", [False, True])
async def test_those_behind_a_record_that_failed_go_on_after_it_and_in_order(bench: Bench, is_async: bool) -> None:
    service, _ = failing_until(3)

    async def awaited(record: Record) -> Record:
        return service(record)

    stop = bench.stop(awaited if is_async else service, ordered=True, retry_policy=AT_ONCE)
    first = await bench.begin(stop.handle, envelope({"n": 0}, {"n": 1, "fails": True}, {"n": 2}))
    second = await bench.begin(stop.handle, envelope({"n": 3}, {"n": 4}, first=3))
    assert went_on(bench) == [0]
    await confirmed([first, second])
    assert went_on(bench) == [0, 1, 2, 3, 4]
    assert not bench.producer.to("test.waiting.200ms"), "it waits in its place"


async def test_records_of_other_values_and_other_partitions_do_not_wait(bench: Bench) -> None:
    gate = asyncio.Event()

    async def service(record: Record) -> Record:
        if record.get("fails") and not gate.is_set():
            raise OSError("not yet")
        return record

    stop = bench.stop(
        service, ordered="key", retry_policy=RetryPolicy(attempts=10_000, backoff=0.001, backoff_max=0.001)
    )
    blocked = await bench.begin(
        stop.handle, envelope({"n": 0, "key": "a", "fails": True}, {"n": 1, "key": "b"}, {"n": 2, "key": "a"}, {"n": 3})
    )
    more = await bench.begin(stop.handle, envelope({"n": 4, "key": "a"}, {"n": 5, "key": "b"}, first=4))
    other = await bench.begin(stop.handle, envelope({"n": 6, "key": "a"}, partition=1))
    await confirmed([other])
    assert went_on(bench) == [1, 3, 5, 6]
    gate.set()
    await confirmed([blocked, more])
    assert went_on(bench) == [1, 3, 5, 6, 0, 2, 4]


async def test_after_its_last_attempt_a_record_is_a_dead_letter_and_the_next_one_goes_on(bench: Bench) -> None:
    service, _ = failing_until(100)
    stop = bench.stop(service, ordered=True, retry_policy=AT_ONCE)
    await bench.complete(stop.handle, envelope({"n": 0, "fails": True}, {"n": 1}))
    letters = bench.producer.to("test.arrivals")
    [(ending, _)] = endings_of(letters).values()
    [segment] = segments_of(letters)
    assert ending is Ending.DEAD
    assert segment.attempts is not None
    assert len(segment.attempts.causes) == 4
    assert went_on(bench) == [1]


async def test_a_message_is_confirmed_only_when_all_its_records_have_gone_on(bench: Bench) -> None:
    service, _ = failing_until(3)
    stop = bench.stop(service, ordered=True, retry_policy=AT_ONCE)
    confirmation = await bench.begin(stop.handle, envelope({"n": 0, "fails": True}, {"n": 1}))
    assert not confirmation.done()
    await confirmed([confirmation])
    assert went_on(bench) == [0, 1]


async def test_what_is_no_record_has_its_place_too(bench: Bench) -> None:
    service, _ = failing_until(2)
    incoming = envelope({"n": 0, "fails": True}, {"n": 1})
    [segment] = incoming.segments
    spoiled = type(incoming)(
        incoming.strategy, incoming.origin, (type(segment)((0, 1, 2), (segment.lines[0], b"no json", b"[]"), 900.0),)
    )
    for ordered in (True, "key"):
        await bench.complete(bench.stop(service, ordered=ordered, retry_policy=AT_ONCE).handle, spoiled)
    assert sum(len(one.ids) for one in segments_of(bench.producer.to("test.arrivals"))) == 4


@given(
    st.lists(
        st.lists(st.tuples(st.sampled_from("abc"), st.booleans()), min_size=1, max_size=5), min_size=1, max_size=5
    ),
    st.sampled_from([True, "key"]),
)
@settings(examples(40), suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_equal_values_leave_in_the_order_in_which_they_came(
    packs: list[list[tuple[str, bool]]], ordered: bool | str
) -> None:
    async def check() -> None:
        bench = Bench.make()
        service, _ = failing_until(3)
        stop = bench.stop(service, ordered=ordered, retry_policy=AT_ONCE)
        number, came, confirmations = 0, list[tuple[str, int]](), []
        for pack in packs:
            records = [{"n": number + at, "key": key, "fails": fails} for at, (key, fails) in enumerate(pack)]
            came += [(key, number + at) for at, (key, _) in enumerate(pack)]
            confirmations.append(await bench.begin(stop.handle, envelope(*records, first=number)))
            number += len(pack)
        await confirmed(confirmations)
        left = went_on(bench)
        assert {sent.topic for sent in bench.producer.sent} == {"test.service.c"}, "each leaves once"
        assert sorted(left) == [n for _, n in came]
        for value in "abc":
            mine = {n for key, n in came if key == value}
            assert [n for n in left if n in mine] == sorted(mine)
        if ordered is True:
            assert left == sorted(left)

    asyncio.run(check())
