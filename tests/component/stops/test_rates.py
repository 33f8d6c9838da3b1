"""The rate of a stop: its calls are spaced, its workers share them, and nothing else waits for them."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest

from metroline import service
from metroline.agents.membership.worker import LiveWorkers, WorkerInfo
from metroline.agents.services.batching import Batching
from metroline.agents.services.rates import calls_per_second
from metroline.agents.services.service import Record
from metroline.agents.stops.rate_limit import CATCH_UP_SECONDS, RateLimit
from metroline.routing.errors import InvalidLine
from tests.support.bench import Bench, carrying, envelope


class Clock:
    """A clock that only the test moves."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


def calls_in(limit: RateLimit, clock: Clock, seconds: float, step: float = 0.001) -> int:
    """Return how many calls begin in this time, if each begins as soon as it may."""
    calls, end = 0, clock.now + seconds
    while clock.now < end:
        while limit.wait() <= 0:
            limit.begin()
            calls += 1
        clock.now += step
    return calls


@pytest.mark.parametrize(
    ("rate", "per_second"), [("10/s", 10.0), ("90/min", 1.5), ("9/h", 0.0025), ("0.5/s", 0.5), ("1.5/min", 0.025)]
)
def test_a_rate_is_read(rate: str, per_second: float) -> None:
    assert calls_per_second(rate) == per_second


@pytest.mark.parametrize("rate", ["10", "10/d", "0/s", "0.0/s", "-1/s", "fast", "10 per s", 10, None, "", "10/s\n"])
def test_what_is_no_rate_is_refused(rate: Any) -> None:
    with pytest.raises(ValueError, match="rate must be a number of calls above 0 per s, min or h, such as"):
        calls_per_second(rate)


@pytest.mark.parametrize(("per_second", "sharers"), [(10.0, 1), (10.0, 4), (300.0, 1), (0.1, 1), (2.0, 3)])
def test_in_any_time_no_more_calls_begin_than_the_share_of_this_worker(per_second: float, sharers: int) -> None:
    clock = Clock()
    limit, share = RateLimit(per_second, lambda: sharers, clock), per_second / sharers
    for pause, seconds in ((0, 30), (100, 30), (0.03, 2), (3, 0.5)):
        clock.now += pause
        assert calls_in(limit, clock, seconds) <= 1 + share * (seconds + CATCH_UP_SECONDS) + 1e-6
    clock.now += 5
    assert calls_in(limit, clock, 60) >= share * 60 * 0.99 - 1


def test_a_worker_that_joins_halves_the_share_at_once() -> None:
    clock, sharers = Clock(), [1]
    limit = RateLimit(10.0, lambda: sharers[0], clock)
    assert calls_in(limit, clock, 10) == pytest.approx(100, abs=1)
    sharers[0] = 2
    assert calls_in(limit, clock, 10) == pytest.approx(50, abs=1)


def test_only_live_workers_that_serve_the_stop_share_its_rate() -> None:
    workers = LiveWorkers()
    announced = [("ab", 99.0, False), ("a", 80.0, False), ("a", 99.0, True), ("b", 99.0, False), ("a", 99.0, False)]
    for number, (stops, at, gone) in enumerate(announced):
        info = WorkerInfo(str(number), "g", (), tuple(stops), "signpost", f"http://h:{number + 1}", 1, 1.0, at, gone)
        workers._remember(info, 1)
    assert workers.others_at("a", "9", 100.0) == 2
    assert workers.others_at("a", "0", 100.0) == 1
    assert workers.others_at("c", "9", 100.0) == 0


@pytest.mark.parametrize("kind", ["plain", "async", "ordered"])
async def test_the_calls_of_a_stop_are_spaced_and_other_tasks_run_meanwhile(bench: Bench, kind: str) -> None:
    began: list[float] = []
    turns = 0

    def call(record: Record) -> Record:
        began.append(time.monotonic())
        return record

    async def call_later(record: Record) -> Record:
        return call(record)

    async def turning() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0.001)

    beside = asyncio.create_task(turning())
    more = {"ordered": True} if kind == "ordered" else {"concurrency": 4} if kind == "async" else {}
    stop = bench.stop(call_later if kind == "async" else call, rate=50.0, **more)
    mailbox = bench.mailbox("service.a")
    for first in (0, 4):
        mailbox.put(envelope(*({"n": n} for n in range(first, first + 4)), first=first).encode())
    async with carrying(bench, mailbox, stop.handle, stop.cancel), asyncio.timeout(30):
        while len(mailbox.acknowledged.get(0, ())) < 2:
            await asyncio.sleep(0.001)
    beside.cancel()
    assert len(began) == 8
    assert began[-1] - began[0] >= 7 / 50.0 - CATCH_UP_SECONDS
    assert turns > 7, "others have a turn between two calls"


async def test_a_batch_service_spaces_its_calls_and_records_gather_meanwhile(bench: Bench) -> None:
    began: list[tuple[float, int]] = []

    def call(records: list[Record]) -> list[Record]:
        began.append((time.monotonic(), len(records)))
        return records

    stop = bench.stop(call, rate=20.0, batching=Batching(10))
    mailbox = bench.mailbox("service.a")
    for first in range(25):
        mailbox.put(envelope({"n": first}, first=first).encode())
    async with carrying(bench, mailbox, stop.handle, stop.cancel), asyncio.timeout(30):
        while len(mailbox.acknowledged.get(0, ())) < 25:
            await asyncio.sleep(0.001)
    assert sum(size for _, size in began) == 25
    assert len(began) <= 4, "a list of those that are there, and full ones"
    assert began[-1][0] - began[0][0] >= (len(began) - 1) / 20.0 - CATCH_UP_SECONDS


async def test_records_that_waited_before_they_go_on_need_no_call(bench: Bench) -> None:
    stop = bench.stop(lambda record: record, rate=0.001)
    await bench.complete(stop.handle, envelope({"n": 0}, {"n": 1}, is_handled=True))
    assert [one.records for one in bench.producer.to("test.service.c")] == [[{"n": 0}, {"n": 1}]]


def test_a_rate_that_is_none_is_refused_when_the_line_is_loaded() -> None:
    with pytest.raises(InvalidLine, match=r'service .price.: rate must be a number .* such as "10/s", not .often.'):

        @service(rate="often")
        def price(record: Record) -> Record:
            return record
