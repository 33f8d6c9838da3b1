"""A service that never gives the event loop back is interrupted, and its record ends."""

from __future__ import annotations

import asyncio
import dataclasses
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

import orjson
import pytest

from metroline.agents.formats.own_function import OwnDecoder, OwnEncoder
from metroline.agents.services.batching import Batching
from metroline.agents.services.resource import Resource, resource
from metroline.agents.services.service import Record, Service
from metroline.agents.stops import loop_guard
from metroline.agents.stops.loop_guard import LoopGuard
from metroline.agents.stops.open_resources import OpenResources
from metroline.agents.stops.resource_keeper import ResourceNotOpened
from metroline.routing.journeys.retry_policy import RetryPolicy
from metroline.routing.outcome import Ending
from metroline.routing.records.record_types import DeclaredTypes, record_type
from tests.support.bench import Bench, endings_of, envelope


@pytest.fixture
async def guard(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[LoopGuard]:
    """Return a guard that looks often."""
    monkeypatch.setattr(loop_guard, "TICK_SECONDS", 0.02)
    guarding = LoopGuard(0.1)
    guarding.limits["a"] = 0.1
    await guarding.start()
    yield guarding
    await guarding.stop()


def spin(record: Record) -> Record:
    while record["size"] == 2:
        pass
    return record


def sleep(record: Record) -> Record:
    if record["size"] == 2:
        time.sleep(60)
    return record


def wait(record: Record) -> Record:
    if record["size"] == 2:
        threading.Event().wait()
    return record


def swallow(record: Record) -> Record:
    for attempt in range(3 if record["size"] == 2 else 0):
        try:
            time.sleep(60)
        except BaseException:
            if attempt == 2:
                raise
    return record


@pytest.mark.parametrize("takes_id", [False, True])
@pytest.mark.parametrize("is_async", [False, True])
async def test_a_batch_ends_as_a_whole_and_the_next_one_goes_on(
    bench: Bench, guard: LoopGuard, is_async: bool, takes_id: bool
) -> None:
    def spin_all(records: list[Record], ids: Any = None) -> list[Record]:
        return list(map(spin, records))

    async def never_awaits(records: list[Record], ids: Any = None) -> list[Record]:
        return spin_all(records)

    stop = bench.stop(
        never_awaits if is_async else spin_all,
        batching=Batching(2),
        takes_id=takes_id,
        retry_policy=RetryPolicy(attempts=5),
    )
    await bench.complete(stop.handle, envelope({"size": 1}, {"size": 2}, {"size": 3}))
    endings = endings_of(bench.producer.to("test.arrivals"))
    assert sorted(endings) == [0, 1]
    for ending, reason in endings.values():
        assert ending is Ending.DEAD
        assert (reason or "").startswith("timeout: it blocked the event loop for 0.1 s (test_loop_guard.py:")
    assert [record for sent in bench.producer.to("test.service.c") for record in sent.records] == [{"size": 3}]


@pytest.mark.parametrize("is_async", [False, True])
@pytest.mark.parametrize("ordered", [False, True])
@pytest.mark.parametrize("service", [spin, sleep, wait, swallow])
async def test_the_record_ends_and_its_neighbours_go_on(
    bench: Bench, guard: LoopGuard, service: Callable[[Record], Any], ordered: bool, is_async: bool
) -> None:
    async def never_awaits(record: Record) -> Any:
        return service(record)

    stop = bench.stop(never_awaits if is_async else service, ordered=ordered, retry_policy=RetryPolicy(attempts=5))
    await bench.complete(stop.handle, envelope({"size": 1}, {"size": 2}, {"size": 3}))

    [(record, (ending, reason))] = endings_of(bench.producer.to("test.arrivals")).items()
    assert (record, ending) == (1, Ending.DEAD)
    assert str(reason).startswith("timeout: it blocked the event loop for 0.1 s (test_loop_guard.py:")
    assert str(reason).endswith(f"in {service.__name__})")
    went_on = [one["size"] for sent in bench.producer.to("test.service.c") for one in sent.records]
    assert sorted(went_on) == [1, 3]


async def test_a_task_that_a_service_started_is_interrupted_as_well(bench: Bench, guard: LoopGuard) -> None:
    tasks = []

    async def never_awaits() -> None:
        spin({"size": 2})

    async def start(record: Record) -> Record:
        tasks.append(asyncio.create_task(never_awaits()))
        return record

    await bench.complete(bench.stop(start).handle, envelope({"size": 1}))
    [error] = await asyncio.gather(*tasks, return_exceptions=True)
    assert type(error).__name__ == "LoopBlocked"


@dataclasses.dataclass
class Slow:
    size: int

    def __post_init__(self) -> None:
        if self.size == 2:
            spin({"size": self.size})


async def test_a_type_of_the_authors_own_is_interrupted_as_well(bench: Bench, guard: LoopGuard) -> None:
    def size(record: Slow) -> Slow:
        return record

    stop = bench.stop(size, types=DeclaredTypes(record_type(Slow, "Slow")))
    await bench.complete(stop.handle, envelope({"size": 1}, {"size": 2}, {"size": 3}))

    assert endings_of(bench.producer.to("test.arrivals")) == {
        1: (Ending.DEAD, "schema: Slow: LoopBlocked: the event loop stood still for 0.1 s")
    }


async def test_a_resource_that_blocks_while_it_is_opened_is_interrupted_by_its_own_timeout(guard: LoopGuard) -> None:
    @resource(timeout=0.3)
    async def pool() -> AsyncIterator[str]:
        time.sleep(60)
        yield "open"

    declared: Resource = getattr(pool, "__resource__")  # noqa: B009 - not for mypy
    taker = Service("a", lambda record, pool: record, others={"pool": True})
    told = r"the resource 'pool' of the line cannot be opened: LoopBlocked: .* 0.3 s \(test_loop"
    began = time.monotonic()
    with guard.limited({"pool": declared.timeout}), pytest.raises(ResourceNotOpened, match=told):
        await OpenResources({"pool": declared}).connect(taker)
    assert 0.3 <= time.monotonic() - began < 30
    assert guard.limits == {None: 0.1, "a": 0.1}


async def test_a_format_of_the_authors_own_is_interrupted_as_well(guard: LoopGuard) -> None:
    def read(value: bytes) -> Record:
        return spin({"size": int(value)})

    decoded = await OwnDecoder(read).decode([b"1", b"2", b"3"])
    assert decoded.values == [b'{"size":1}', b"2", b'{"size":3}']
    assert decoded.problems == {1: "LoopBlocked: the event loop stood still for 0.1 s"}

    def write(record: Record) -> bytes:
        return orjson.dumps(spin(record))

    [written] = await OwnEncoder(write).encode([b'{"size":2}'], [None])
    assert str(written) == "LoopBlocked: the event loop stood still for 0.1 s"


async def test_code_that_is_no_service_is_named_and_goes_on(guard: LoopGuard, caplog: pytest.LogCaptureFixture) -> None:
    await asyncio.sleep(0)
    deadline = time.monotonic() + 10
    while "the event loop" not in caplog.text and time.monotonic() < deadline:
        time.sleep(0.1)
    assert "the event loop has stood still for" in caplog.text
    assert "test_code_that_is_no_service_is_named_and_goes_on (test_loop_guard.py:" in caplog.text


UNSTOPPABLE = """
import asyncio, logging
from metroline.agents.formats.own_function import OwnDecoder
from metroline.agents.stops import loop_guard
loop_guard.TICK_SECONDS, loop_guard.UNSTOPPABLE_SECONDS = 0.02, 0.1
logging.basicConfig()

def stubborn(value):
    while True:
        try:
            while True:
                pass
        except BaseException:
            pass

async def main():
    guard = loop_guard.LoopGuard(0.1)
    await guard.start()
    await asyncio.sleep(0)
    await OwnDecoder(stubborn).decode([b""])

asyncio.run(main())
"""


def test_a_worker_that_cannot_be_freed_ends() -> None:
    ended = subprocess.run([sys.executable, "-c", UNSTOPPABLE], capture_output=True, text=True, timeout=60, check=False)
    assert ended.returncode == 1
    assert "the event loop cannot be freed, and this worker ends: it stands in stubborn (<string>:" in ended.stderr
