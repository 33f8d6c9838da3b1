"""Through trains: packs go on in memory where this worker plays the next address, and only there."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest

from metroline.agents.delivery.unit_of_work import UnitOfWork
from metroline.agents.kafka.producer import TooLarge
from metroline.agents.routers import RouterAgent
from metroline.agents.services.service import Record
from metroline.routing.journeys.deciders import ROUTERS
from metroline.routing.journeys.departures import Limits
from metroline.routing.journeys.retry_policy import RetryPolicy
from metroline.routing.messages.envelope import Envelope, join
from metroline.routing.outcome import Cause, Ending
from metroline.routing.strategies import STRATEGIES
from tests.support.bench import Bench, Mailbox, Sent, endings_of, envelope, segments_of, until

ROUND = """
[[rules]]
after = "source"
to = "a"

[[rules]]
after = "a"
to = "b"

[[rules]]
after = "b"
to = "a"
"""


def as_it_is(record: Record) -> Record:
    return record


@dataclass
class Worker:
    """A worker on a bench that plays stops and routers, and hands packs on in memory."""

    bench: Bench
    handlers: dict[str, Callable[[Envelope, UnitOfWork], Any]] = field(default_factory=dict)

    def stop(self, name: str, service: Any = as_it_is, **more: Any) -> None:
        one = self.bench.stop(service, name=name, **more)
        address = f"service.{name}"
        self.handlers[address] = one.handle
        if "ordered" not in more:
            self.bench.bus.trains.call_at(address, one.handle_at_once, one.accepts)

    def routers(self) -> None:
        for address, router in ROUTERS.items():
            handle = RouterAgent(self.bench.agent_loop, self.bench.rule_tables, router).handle
            self.handlers[address] = handle
            self.bench.bus.trains.call_at(address, handle)

    def open(self, *partitions: int, end: int = 0) -> None:
        """Assign partitions of all addresses; `end` messages of each wait on the bus."""
        places = [(address, partition) for address in self.handlers for partition in partitions or (0,)]
        self.bench.bus.trains.detours.assign(dict.fromkeys(places, 0))
        self.bench.bus.trains.detours.found(dict.fromkeys(places, end))

    async def handle(self, address: str, incoming: Envelope) -> None:
        await self.bench.complete(self.handlers[address], incoming)

    def written(self) -> list[str]:
        """Return the topics that were written to, in order."""
        return [sent.topic.removeprefix("test.") for sent in self.bench.producer.sent]


@pytest.fixture
def worker(bench: Bench) -> Worker:
    made = Worker(bench)
    for name in "abc":
        made.stop(name)
    made.routers()
    made.open()
    return made


@pytest.mark.parametrize("strategy", STRATEGIES)
async def test_a_pack_passes_all_stops_of_the_worker_and_is_written_once_for_the_arrivals(
    worker: Worker, strategy: str
) -> None:
    first = {"conductor": "conductor", "map_maker": "map-maker"}.get(strategy, "service.a")
    await worker.handle(first, envelope({"size": 11}, {"size": 12}, strategy=strategy))

    assert worker.written() == ["arrivals"]
    [segment] = segments_of(worker.bench.producer.sent)
    assert segment.stops == ("a", "b")
    assert segment.hops == 2, "one message came, and one was written"
    assert endings_of(worker.bench.producer.sent) == {0: (Ending.DELIVERED, None), 1: (Ending.DELIVERED, None)}
    handed_on = worker.bench.bus.metrics.chained
    assert (handed_on["service.b"].packs, handed_on["service.b"].records) == (1, 2)
    assert "service.b" not in worker.bench.bus.metrics.traffic


async def test_the_message_is_complete_once_the_arrivals_have_its_records(worker: Worker) -> None:
    worker.bench.producer.holds = True
    confirmation = await worker.bench.begin(worker.handlers["service.a"], envelope({"size": 11}))
    await asyncio.sleep(0)
    assert not confirmation.done()
    worker.bench.producer.sent[0].confirm()
    await until(confirmation.done)


async def test_a_long_journey_in_memory_needs_no_deep_recursion() -> None:
    bench = Bench.make(Limits(max_hops=600), strategy="conductor", rules=ROUND)
    worker = Worker(bench)
    worker.stop("a")
    worker.stop("b")
    worker.routers()
    worker.open()
    await worker.handle("conductor", envelope({"n": 1}, strategy="conductor"))
    assert worker.written() == ["arrivals"]
    [segment] = segments_of(bench.producer.sent)
    assert len(segment.history) == 600
    assert segment.outcome is not None
    assert segment.outcome.cause is Cause.TOO_MANY_HOPS


async def test_other_tasks_run_while_a_long_journey_goes_on() -> None:
    turns = 0

    async def beside() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    def work(record: Record) -> Record:
        time.sleep(0.005)
        return record

    bench = Bench.make(Limits(max_hops=50), rules=ROUND)
    worker = Worker(bench)
    worker.stop("a", work)
    worker.stop("b")
    worker.open()
    task = asyncio.create_task(beside())
    await worker.handle("service.a", envelope({"n": 1}))
    task.cancel()
    assert turns >= 4


@pytest.mark.parametrize(
    "why", ["another partition", "no such agent", "draining", "time is up", "revoked", "messages wait there", "ordered"]
)
async def test_a_pack_goes_by_the_bus_where_memory_would_not_do(bench: Bench, why: str) -> None:
    worker = Worker(bench)
    worker.stop("a")
    if why == "ordered":
        worker.stop("b", ordered=True)
    elif why != "no such agent":
        worker.stop("b")
    worker.open(1 if why == "another partition" else 0, end=1 if why == "messages wait there" else 0)
    if why == "draining":
        bench.agent_loop.drain(True)
    if why == "revoked":
        bench.bus.trains.detours.revoke()
    if why == "time is up":

        def late(record: Record) -> Record:
            bench.now += 6
            return record

        worker.stop("a", late)
    await worker.handle("service.a", envelope({"size": 11}))
    assert worker.written() == ["service.b"]
    [segment] = segments_of(bench.producer.sent)
    assert segment.hops == 2
    assert not bench.bus.metrics.chained


async def test_records_that_are_retried_or_cut_off_go_by_the_bus(bench: Bench) -> None:
    worker = Worker(bench)

    def fail(record: Record) -> Record:
        bench.now += 4
        if record["size"] == 1:
            raise OSError("not yet")
        return record

    worker.stop("a", fail, retry_policy=RetryPolicy(attempts=3, backoff=0.1, backoff_max=0.1))
    worker.stop("b")
    worker.open()
    await worker.handle("service.a", envelope({"size": 1}, {"size": 11}, {"size": 12}))
    assert sorted(worker.written()) == ["service.a", "service.b"]
    assert sorted(record["size"] for sent in bench.producer.to("test.service.a") for record in sent.records) == [1, 12]


async def test_a_full_stop_gets_no_more_in_memory_and_nothing_overtakes_what_waits_on_the_bus(bench: Bench) -> None:
    gate, began = asyncio.Event(), []

    async def slow(record: Record) -> Record:
        began.append(record["n"])
        await gate.wait()
        return record

    worker = Worker(bench)
    worker.stop("a")
    worker.stop("b", slow)
    worker.open()
    mailbox = bench.mailbox("service.b")
    for number in range(4):
        await bench.begin(worker.handlers["service.a"], envelope({"n": number, "size": 11}, first=number))
    assert worker.written() == ["service.b"] * 2, "it holds two"
    gate.set()
    await until(lambda: len(bench.producer.to("test.arrivals")) > 0 and began == [0, 1])
    await begin_and_settle(worker, 4)
    assert worker.written().count("service.b") == 3, "two wait on the bus, so this one follows them"

    task = asyncio.create_task(bench.agent_loop.run(mailbox.stream, worker.handlers["service.b"]))
    for sent in bench.producer.to("test.service.b"):
        mailbox.put(sent.value)
    await until(lambda: began == [0, 1, 2, 3, 4])
    await until(lambda: len(mailbox.acknowledged.get(0, [])) == 3)
    await begin_and_settle(worker, 5)
    await until(lambda: began == [0, 1, 2, 3, 4, 5])
    assert worker.written().count("service.b") == 3
    task.cancel()


async def begin_and_settle(worker: Worker, number: int) -> None:
    """Let a record leave `a`."""
    await worker.bench.begin(worker.handlers["service.a"], envelope({"n": number, "size": 11}, first=number))


async def test_what_waits_on_the_bus_from_before_is_handled_first(bench: Bench) -> None:
    worker = Worker(bench)
    worker.stop("a")
    worker.stop("b")
    worker.open(end=2)
    mailbox: Mailbox = bench.mailbox("service.b")
    task = asyncio.create_task(bench.agent_loop.run(mailbox.stream, worker.handlers["service.b"]))
    mailbox.put(envelope({"size": 11}).encode())
    await until(lambda: mailbox.acknowledged == {0: [0]})
    await begin_and_settle(worker, 5)
    assert len(bench.producer.to("test.service.b")) == 1
    mailbox.put(b"no envelope, but a message all the same")
    mailbox.put(bench.producer.to("test.service.b")[0].value)
    await until(lambda: mailbox.acknowledged == {0: [0, 1, 2]})
    await begin_and_settle(worker, 6)
    assert len(bench.producer.to("test.service.b")) == 1
    task.cancel()


async def test_a_mistake_of_the_program_ends_the_records_where_it_happens(bench: Bench) -> None:
    worker = Worker(bench)
    worker.stop("a")

    async def mistaken(incoming: Envelope, unit: UnitOfWork) -> None:
        raise ZeroDivisionError("a mistake")

    worker.handlers["service.b"] = mistaken
    bench.bus.trains.call_at("service.b", mistaken)
    worker.open()
    await worker.handle("service.a", envelope({"size": 11}, {"size": 1}))
    assert endings_of(bench.producer.to("test.arrivals")) == {
        0: (Ending.DEAD, "internal_error: ZeroDivisionError: a mistake")
    }
    assert len(bench.producer.to("test.service.c")) == 1


async def test_a_record_that_grows_too_large_ends_at_the_stop_where_it_does() -> None:
    bench = Bench.make(Limits(pack_bytes=50_000, message_bytes=100_000))
    worker = Worker(bench)

    def grow(record: Record) -> Record:
        record["text"] = "x" * 200_000
        return record

    worker.stop("a", grow)
    worker.stop("b")
    worker.open()
    await worker.handle("service.a", envelope({"size": 11}))
    [letter] = bench.producer.sent
    [segment] = letter.envelope.segments
    assert segment.stops == ("a",)
    assert segment.outcome is not None
    assert segment.outcome.cause is Cause.TOO_LARGE


async def test_a_refused_envelope_does_not_close_its_place_for_ever(bench: Bench) -> None:
    def refuse(sent: Sent) -> BaseException | None:
        return TooLarge() if sent.topic == "test.service.b" else None

    worker = Worker(bench)
    worker.stop("a")
    worker.stop("b")
    worker.open(end=0)
    bench.producer.refuse = refuse
    await bench.complete(bench.bus.send, "service.b", envelope({"size": 11}))
    await begin_and_settle(worker, 1)
    assert len(bench.producer.to("test.service.b")) == 1


async def test_records_of_several_partitions_stay_together_only_where_all_may_go_on_in_memory(bench: Bench) -> None:
    worker = Worker(bench)
    worker.stop("a")
    worker.stop("b")
    both = join([envelope({"size": 11}, {"size": 12}), envelope({"size": 13}, partition=1)])

    worker.open(0, 1)
    await worker.handle("service.a", both)
    assert (bench.bus.metrics.chained["service.b"].packs, bench.bus.metrics.chained["service.b"].records) == (1, 3)

    worker.open(0)
    await worker.handle("service.a", both)
    assert (bench.bus.metrics.chained["service.b"].packs, bench.bus.metrics.chained["service.b"].records) == (2, 5)
    [sent] = bench.producer.to("test.service.b")
    assert (sent.partition, sent.records) == (1, [{"size": 13}])


async def test_a_service_is_told_the_ids_of_records_of_several_partitions(bench: Bench) -> None:
    told: list[tuple[int, str]] = []

    def plain(record: Record, id: str) -> Record:
        told.append((record["size"], id))
        return record

    async def waiting(record: Record, id: str) -> Record:
        await asyncio.sleep(0)
        return plain(record, id)

    both = join([envelope({"size": 1}, {"size": 2}), envelope({"size": 3}, partition=1)])
    worker = Worker(bench)
    worker.stop("a", plain, takes_id=True)
    worker.stop("b", waiting, takes_id=True, concurrency=2)
    worker.open(0, 1)
    for address in ("service.a", "service.b"):
        told.clear()
        await worker.handle(address, both)
        assert sorted(told) == [(1, "source-0-0"), (2, "source-0-1"), (3, "source-1-0")]


@pytest.mark.parametrize("concurrency", [1, 4])
async def test_records_of_several_partitions_that_fail_are_tried_again_in_their_partitions(
    bench: Bench, concurrency: int
) -> None:
    async def fail(record: Record) -> Record:
        raise ValueError("no")

    worker = Worker(bench)
    worker.stop("a", fail, concurrency=concurrency, retry_policy=RetryPolicy(attempts=2, backoff=0.1))
    worker.open(0, 1)
    await worker.handle("service.a", join([envelope({"size": 1}), envelope({"size": 2}, partition=1)]))

    assert sorted((sent.topic, sent.partition) for sent in bench.producer.sent) == [
        ("test.service.a", 0),
        ("test.service.a", 1),
    ]


async def test_packs_that_wait_when_partitions_are_revoked_go_by_the_bus(bench: Bench) -> None:
    worker = Worker(bench)
    worker.stop("a")
    worker.stop("b")

    def last(record: Record) -> Record:
        bench.bus.trains.detours.revoke()
        return record

    worker.stop("c", last)
    worker.open()
    await worker.handle("service.a", envelope({"size": 1}, {"size": 11}))

    assert bench.bus.metrics.chained["service.c"].records == 1
    assert "service.b" not in bench.bus.metrics.chained
    [sent] = bench.producer.to("test.service.b")
    assert [segment.hops for segment in segments_of([sent])] == [2]
