"""The concurrency of a stop: it counts over all messages that the stop holds, and a slow record delays no other."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable
from contextlib import AbstractAsyncContextManager
from typing import Any

import pytest

from metroline.agents.delivery.unit_of_work import UnitOfWork
from metroline.agents.services.service import Record
from metroline.agents.stops import concurrency
from metroline.agents.stops.service_run import ServiceRun
from metroline.agents.stops.stop import Stop
from metroline.routing.messages.envelope import Envelope
from metroline.routing.outcome import Ending
from tests.support.bench import Bench, Mailbox, Sent, carrying, endings_of, envelope, until

Wait = Callable[[Record], Awaitable[Any]]


class Gates:
    """A service whose records wait until the test opens their gates."""

    def __init__(self) -> None:
        self.began: list[int] = []
        self._gates: dict[int, asyncio.Event] = {}

    def open(self, *numbers: int) -> None:
        for number in numbers:
            self._gates.setdefault(number, asyncio.Event()).set()

    def service(self) -> Any:
        async def wait(record: Record) -> Record:
            self.began.append(record["n"])
            await self._gates.setdefault(record["n"], asyncio.Event()).wait()
            return record

        return wait


def running(bench: Bench, stop: Stop, mailbox: Mailbox) -> AbstractAsyncContextManager[None]:
    """Run the agent of a stop on the messages of a mailbox."""
    return carrying(bench, mailbox, stop.handle, stop.cancel)


def fill(mailbox: Mailbox, numbers: Iterable[int], partition: int = 0) -> None:
    """Add a message with one record for each number."""
    for number in numbers:
        mailbox.put(envelope({"n": number}, first=number, partition=partition).encode(), partition)


def numbers_in(sent: Iterable[Sent]) -> list[int]:
    return [record["n"] for one in sent for record in one.records]


def gone(bench: Bench) -> list[int]:
    """Return the records that went on, in order."""
    return numbers_in(bench.producer.to("test.service.c"))


async def soon(holds: Callable[[], bool], timeout: float = 10.0) -> None:
    """Wait until a condition holds, in real time."""
    deadline = time.monotonic() + timeout
    while not holds():
        assert time.monotonic() < deadline, "it did not happen"
        await asyncio.sleep(0.001)


@pytest.mark.parametrize("way", ["async", "blocking"])
async def test_it_handles_as_many_records_a_second_as_it_may_when_each_comes_in_a_message_of_its_own(
    bench: Bench, way: str
) -> None:
    inside = most = 0

    def enter() -> None:
        nonlocal inside, most
        inside += 1
        most = max(most, inside)

    def leave() -> None:
        nonlocal inside
        inside -= 1

    async def wait(record: Record) -> Record:
        enter()
        await asyncio.sleep(0.5)
        leave()
        return record

    def block(record: Record) -> Record:
        enter()
        time.sleep(0.5)
        leave()
        return record

    service = wait if way == "async" else block
    stop = bench.stop(service, concurrency=64, is_blocking=way == "blocking")
    mailbox = bench.mailbox("service.a")
    fill(mailbox, range(192))
    began = time.monotonic()
    async with running(bench, stop, mailbox):
        await soon(lambda: mailbox.acknowledged == {0: list(range(192))}, 30)
    assert time.monotonic() - began < 6, "one after the other, they would take 96 s"
    assert most == 64
    assert sorted(gone(bench)) == list(range(192))


async def test_a_slow_record_delays_nothing_but_the_acknowledgements_behind_it(bench: Bench) -> None:
    gates, mailbox = Gates(), bench.mailbox("service.a")
    fill(mailbox, range(100))
    fill(mailbox, range(100, 110), partition=1)
    gates.open(*range(1, 110))
    async with running(bench, bench.stop(gates.service(), concurrency=4), mailbox):
        await soon(lambda: sorted(gone(bench)) == list(range(1, 110)))
        await soon(lambda: mailbox.acknowledged == {1: list(range(10))})
        gates.open(0)
        await soon(lambda: mailbox.acknowledged.get(0) == list(range(100)))
    assert gone(bench)[-1] == 0


async def test_of_a_pack_a_finished_record_leaves_without_the_others(bench: Bench) -> None:
    gates = Gates()
    stop = bench.stop(gates.service(), concurrency=4)
    confirmation = await bench.begin(stop.handle, envelope(*({"n": n} for n in range(4))))
    gates.open(2, 1)
    await soon(lambda: gone(bench) == [1, 2])
    assert len(bench.producer.sent) == 1, "those that finish together leave together"
    assert not confirmation.done()
    gates.open(0, 3)
    await soon(confirmation.done)
    assert gone(bench) == [1, 2, 0, 3]


async def test_records_of_several_messages_that_finish_together_leave_together_if_their_origin_is_one(
    bench: Bench,
) -> None:
    gates = Gates()
    stop = bench.stop(gates.service(), concurrency=8)
    made = [await bench.begin(stop.handle, envelope({"n": n}, first=n, partition=n % 2)) for n in range(6)]
    bench.producer.holds = True
    gates.open(*range(6))
    await soon(lambda: len(bench.producer.sent) == 2)
    assert [sorted(numbers_in([sent])) for sent in bench.producer.sent] == [[0, 2, 4], [1, 3, 5]]
    assert not any(one.done() for one in made)
    bench.producer.sent[1].confirm()
    await soon(lambda: [one.done() for one in made] == [False, True] * 3)


async def test_what_it_cannot_take_waits_on_the_bus(bench: Bench) -> None:
    gates, mailbox = Gates(), bench.mailbox("service.a")
    fill(mailbox, range(100))
    stop, handled = bench.stop(gates.service(), concurrency=3), []

    async def handle(incoming: Envelope, unit: UnitOfWork) -> None:
        await stop.handle(incoming, unit)
        handled.append(incoming)

    task = asyncio.create_task(bench.agent_loop.run(mailbox.stream, handle, stop.cancel))
    await soon(lambda: gates.began == [0, 1, 2])
    for _ in range(20):
        await asyncio.sleep(0)
    assert len(handled) == 3 * concurrency.HELD_PER_PLACE
    gates.open(*range(100))
    await soon(lambda: len(gone(bench)) == 100)
    assert len(handled) == 100
    task.cancel()


async def test_it_holds_no_more_bytes_than_its_bound(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(concurrency, "MAX_HELD_BYTES", 1_000)
    gates = Gates()
    stop = bench.stop(gates.service(), concurrency=64)
    await bench.begin(stop.handle, envelope({"n": 0, "text": "x" * 2_000}))
    second = asyncio.create_task(bench.begin(stop.handle, envelope({"n": 1}, first=1)))
    for _ in range(20):
        await asyncio.sleep(0)
    assert not second.done()
    gates.open(0)
    await asyncio.wait_for(second, 5)


async def test_one_at_a_time_they_are_handled_and_leave_in_order_over_all_messages(bench: Bench) -> None:
    began: list[int] = []
    inside = 0

    async def service(record: Record) -> Record:
        nonlocal inside
        inside += 1
        assert inside == 1
        began.append(record["n"])
        await asyncio.sleep(0.001 * (record["n"] % 3))
        inside -= 1
        return record

    mailbox = bench.mailbox("service.a")
    for first in range(0, 60, 3):
        mailbox.put(envelope(*({"n": n} for n in range(first, first + 3)), first=first).encode())
    async with running(bench, bench.stop(service), mailbox):
        await soon(lambda: len(gone(bench)) == 60)
    assert began == gone(bench) == list(range(60))


async def test_what_has_not_begun_when_time_is_up_goes_back_and_what_runs_is_awaited(bench: Bench) -> None:
    gates = Gates()
    stop = bench.stop(gates.service(), concurrency=2)
    confirmation = await bench.begin(stop.handle, envelope(*({"n": n} for n in range(5))))
    await until(lambda: gates.began == [0, 1])
    bench.now += 6
    await soon(lambda: numbers_in(bench.producer.to("test.service.a")) == [2, 3, 4])
    assert not confirmation.done()
    gates.open(0, 1)
    await soon(confirmation.done)
    assert gone(bench) == [0, 1]
    assert gates.began == [0, 1]


async def test_a_message_that_waits_behind_slow_ones_begins_before_any_of_it_goes_back(bench: Bench) -> None:
    gates = Gates()
    stop = bench.stop(gates.service())
    made = [await bench.begin(stop.handle, envelope({"n": n}, first=n)) for n in range(2)]
    bench.now += 60
    gates.open(0, 1)
    await soon(lambda: all(one.done() for one in made))
    assert gone(bench) == [0, 1]
    assert not bench.producer.to("test.service.a")


async def test_while_the_worker_drains_what_has_not_begun_goes_back_after_a_second(bench: Bench) -> None:
    gates = Gates()
    stop = bench.stop(gates.service())
    made = [await bench.begin(stop.handle, envelope({"n": n}, first=n)) for n in range(2)]
    await until(lambda: gates.began == [0])
    bench.agent_loop.drain(True)
    bench.now += 1.5
    await soon(made[1].done)
    assert numbers_in(bench.producer.to("test.service.a")) == [1]
    gates.open(0)
    await soon(made[0].done)


async def test_what_has_not_begun_when_partitions_go_away_is_left_to_their_new_owner(bench: Bench) -> None:
    gates, mailbox = Gates(), bench.mailbox("service.a")
    fill(mailbox, range(2))
    async with running(bench, bench.stop(gates.service()), mailbox):
        await soon(lambda: gates.began == [0])
        for _ in range(20):
            await asyncio.sleep(0)
        bench.agent_loop.reset()
        fill(mailbox, [5])
        gates.open(0, 1, 5)
        await soon(lambda: mailbox.acknowledged == {0: [2]})
    assert gates.began == [0, 5]
    assert gone(bench) == [0, 5]


async def test_a_worker_that_stops_cancels_its_calls_and_acknowledges_none_of_them(bench: Bench) -> None:
    cancelled: list[int] = []

    async def service(record: Record) -> Record:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancelled.append(record["n"])
            raise
        return record

    mailbox = bench.mailbox("service.a")
    fill(mailbox, range(3))
    async with running(bench, bench.stop(service, concurrency=2), mailbox):
        for _ in range(20):
            await asyncio.sleep(0)
    await soon(lambda: sorted(cancelled) == [0, 1])
    assert not mailbox.acknowledged
    assert not bench.producer.sent


async def test_a_mistake_of_the_program_ends_its_record_and_not_the_stop(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def service(record: Record) -> Record:
        return record

    stop, right = bench.stop(service, concurrency=2), ServiceRun.run_async

    async def mistaken(self: Any, place: int) -> None:
        if self.answers.lines[place] == b'{"n":1}':
            raise ZeroDivisionError("a mistake")
        await right(self, place)

    monkeypatch.setattr(ServiceRun, "run_async", mistaken)
    await bench.complete(stop.handle, envelope(*({"n": n} for n in range(3))))
    assert gone(bench) == [0, 2]
    assert endings_of(bench.producer.to("test.arrivals")) == {
        1: (Ending.DEAD, "internal_error: ZeroDivisionError: a mistake")
    }
