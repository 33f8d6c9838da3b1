"""Resources that break while a worker runs are opened again, and the records that need them wait."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from typing import Any, cast

import pytest

from metroline import Retry, resource
from metroline.agents.services.resource import Resource
from metroline.agents.services.service import Record, Service, service
from metroline.agents.stops import kept_resource
from metroline.agents.stops.bounded_calls import BoundedCalls
from metroline.agents.stops.open_resources import OpenResources
from metroline.routing.errors import InvalidLine
from tests.support.bench import until


class Pool:
    """A resource with a background task, and whatever a test wants it to be."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.fails = asyncio.Event()
        self.is_open = True

    async def watch(self) -> None:
        await self.fails.wait()
        raise ConnectionError("the server has gone")


class Pools:
    """Opens pools, and notes them."""

    def __init__(self) -> None:
        self.opened: list[Pool] = []
        self.refuses = 0
        """Number of attempts to open another one that fail."""
        self.may_open = asyncio.Event()
        self.may_open.set()

    def resource(self, **options: Any) -> dict[str, Resource]:
        async def pool() -> AsyncIterator[Pool]:
            await self.may_open.wait()
            if self.refuses and self.opened:
                self.refuses -= 1
                raise ConnectionRefusedError("not yet")
            one = Pool(len(self.opened) + 1)
            self.opened.append(one)
            try:
                async with asyncio.TaskGroup() as group:
                    watching = group.create_task(one.watch())
                    yield one
                    watching.cancel()
            finally:
                one.is_open = False

        made = cast(Any, resource)(**options)(pool)
        return {"pool": made.__resource__}

    @property
    def last(self) -> Pool:
        return self.opened[-1]


@pytest.fixture
def pools(monkeypatch: pytest.MonkeyPatch) -> Pools:
    monkeypatch.setattr(kept_resource, "FIRST_DELAY_SECONDS", 0.01)
    return Pools()


def service_of(function: Callable[..., Any], **options: Any) -> Service:
    made = cast(Any, service)(**options)(function)
    found: Service = made.__metroline__
    return found


def number_of(record: Record, pool: Pool) -> Record:
    return {"pool": pool.number}


async def reopened(opened: OpenResources, pools: Pools, number: int = 2) -> None:
    await until(lambda: len(pools.opened) >= number and not opened.broken)


async def test_a_resource_whose_background_task_fails_is_opened_again(
    pools: Pools, caplog: pytest.LogCaptureFixture
) -> None:
    async with OpenResources(pools.resource(), reopens=True) as opened:
        connected = await opened.connect(service_of(number_of))
        assert connected.handler({}) == {"pool": 1}
        pools.may_open.clear()
        pools.last.fails.set()
        await until(lambda: bool(opened.broken))
        assert "ConnectionError: the server has gone (test_broken_resources.py:" in opened.broken["pool"]
        answer = connected.handler({})
        assert isinstance(answer, Retry)
        assert answer.reason.startswith("the resource 'pool' is opened again: ConnectionError: the server has gone")
        assert answer.after == 1.0
        pools.may_open.set()
        await reopened(opened, pools)
        assert connected.handler({}) == {"pool": 2}
        assert not pools.opened[0].is_open
        assert opened.breaks == {"pool": 1}
    said = [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]
    assert said[0].startswith(
        "the resource 'pool' is broken, and is opened again: ConnectionError: the server has gone"
    )
    assert said[1].startswith("the resource 'pool' is open again, after ")
    assert len(said) == 2
    assert not pools.last.is_open


async def test_a_resource_that_cannot_be_opened_again_is_tried_until_it_can(
    pools: Pools, caplog: pytest.LogCaptureFixture
) -> None:
    async with OpenResources(pools.resource(), reopens=True) as opened:
        connected = await opened.connect(service_of(number_of))
        pools.refuses = 3
        pools.last.fails.set()
        await reopened(opened, pools)
        assert connected.handler({}) == {"pool": 2}
    still = [record for record in caplog.records if "is still broken: the resource 'pool'" in record.getMessage()]
    assert len(still) == 3


async def test_attempts_are_further_and_further_apart(pools: Pools, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kept_resource, "FIRST_DELAY_SECONDS", 1.0)
    delays: list[float] = []
    sleep = asyncio.sleep

    async def skipped(seconds: float) -> None:
        if seconds > 0:
            delays.append(seconds)
        await sleep(0)

    monkeypatch.setattr(asyncio, "sleep", skipped)
    async with OpenResources(pools.resource(), reopens=True) as opened:
        await opened.connect(service_of(number_of))
        pools.refuses = 8
        pools.last.fails.set()
        await reopened(opened, pools)
    assert delays == [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 60.0, 60.0]


async def test_a_service_shows_by_an_exception_that_a_resource_is_broken(pools: Pools) -> None:
    async def use(record: Record, pool: Pool) -> Record:
        if record.get("breaks") == pool.number:
            raise ConnectionResetError("by peer")
        return {"pool": pool.number}

    async with OpenResources(pools.resource(reopen_on=(ConnectionError,)), reopens=True) as opened:
        connected = await opened.connect(service_of(use))
        assert await connected.handler({}) == {"pool": 1}
        with pytest.raises(ConnectionResetError):
            await connected.handler({"breaks": 1})
        assert isinstance(await connected.handler({}), Retry), "at once: nobody else fails"
        await reopened(opened, pools)
        assert isinstance(await connected.handler({"breaks": 2}), Retry), "no call has succeeded since it was opened"
        await reopened(opened, pools, 3)
        assert await connected.handler({"breaks": 1}) == {"pool": 3}


async def test_other_exceptions_and_those_of_no_retry_break_nothing(pools: Pools) -> None:
    def use(record: Record, pool: Pool) -> Record:
        raise record["error"]

    async with OpenResources(pools.resource(reopen_on=(OSError,)), reopens=True) as opened:
        connected = await opened.connect(service_of(use, no_retry=(FileNotFoundError,)))
        for error in (ValueError("a record"), FileNotFoundError("a file"), KeyError("a field")):
            with pytest.raises(type(error)):
                connected.handler({"error": error})
        await asyncio.sleep(0)
        assert (opened.broken, opened.breaks) == ({}, {"pool": 0})


async def test_a_call_that_fails_while_its_resource_breaks_is_no_failed_attempt_and_is_waited_for(pools: Pools) -> None:
    begun, goes_on = asyncio.Event(), asyncio.Event()

    async def use(record: Record, pool: Pool) -> Record:
        begun.set()
        await goes_on.wait()
        assert pool.is_open, "it is closed only after the call"
        raise ValueError("the connection is in an odd state")

    async with OpenResources(pools.resource(reopen_on=(OSError,)), reopens=True) as opened:
        slow = await opened.connect(service_of(use))

        def report(record: Record, pool: Pool) -> Record:
            raise OSError("away")

        fast = await opened.connect(service_of(report))
        call = asyncio.create_task(slow.handler({}))
        await begun.wait()
        assert isinstance(fast.handler({}), Retry)
        await until(lambda: bool(opened.broken))
        goes_on.set()
        assert isinstance(await call, Retry)
        await reopened(opened, pools)


async def test_a_service_in_a_thread_shows_it_too(pools: Pools) -> None:
    def use(record: Record, pool: Pool) -> Record:
        raise ConnectionError("away")

    async with OpenResources(pools.resource(reopen_on=(ConnectionError,)), reopens=True) as opened:
        connected = await opened.connect(service_of(use, blocking=True))
        called = await BoundedCalls("use", is_async=False, max_given_up=1).call(connected.handler, {}, 10)
        assert isinstance(called.value, Retry)
        await reopened(opened, pools)


async def test_each_record_of_a_batch_waits(pools: Pools) -> None:
    async def use(records: list[Record], ids: list[str], pool: Pool) -> list[Record]:
        return [{"pool": pool.number, "id": id} for id in ids]

    async with OpenResources(pools.resource(), reopens=True) as opened:
        connected = await opened.connect(service_of(use, batch=True))
        pools.may_open.clear()
        pools.last.fails.set()
        await until(lambda: bool(opened.broken))
        answers = await connected.handler([{}, {}], ids=["a", "b"])
        assert [type(answer) for answer in answers] == [Retry, Retry]
        pools.may_open.set()
        await reopened(opened, pools)
        assert await connected.handler([{}], ids=["a"]) == [{"pool": 2, "id": "a"}]


async def test_what_takes_a_broken_resource_is_opened_again_after_it(pools: Pools) -> None:
    events: list[str] = []

    @resource
    async def client(pool: Pool) -> AsyncIterator[Pool]:
        events.append(f"open with {pool.number}")
        yield pool
        events.append(f"close with {pool.number}, open: {pool.is_open}")

    def use(record: Record, client: Pool) -> Record:
        return {"pool": client.number}

    declared = pools.resource(reopen_on=(OSError,)) | {"client": client.__resource__}  # type: ignore[attr-defined]

    def report(record: Record, pool: Pool) -> Record:
        raise OSError("away")

    async with OpenResources(declared, reopens=True) as opened:
        connected = await opened.connect(service_of(use))
        reporting = await opened.connect(service_of(report))
        pools.may_open.clear()
        reporting.handler({})
        await until(lambda: bool(opened.broken))
        assert opened.broken["client"].endswith(": it takes the resource 'pool', which is broken")
        pools.may_open.set()
        await reopened(opened, pools)
        assert connected.handler({}) == {"pool": 2}
    assert events == ["open with 1", "close with 1, open: True", "open with 2", "close with 2, open: True"]


async def test_a_worker_that_stops_does_not_wait_for_a_broken_resource(
    pools: Pools, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kept_resource, "FIRST_DELAY_SECONDS", 60.0)
    opened = OpenResources(pools.resource(), reopens=True)
    await opened.connect(service_of(number_of))
    pools.refuses = 99
    pools.last.fails.set()
    await until(lambda: pools.refuses < 99)
    await asyncio.wait_for(opened.close(), 5)


async def test_a_rehearsal_opens_nothing_again(pools: Pools, caplog: pytest.LogCaptureFixture) -> None:
    async with OpenResources(pools.resource()) as opened:
        connected = await opened.connect(service_of(number_of))
        pools.last.fails.set()
        await until(lambda: "ended with an error: ConnectionError" in caplog.text)
        assert connected.handler({}) == {"pool": 1}
        assert opened.broken == {}


@pytest.mark.parametrize("reopen_on", [ConnectionError, [ConnectionError], ("ConnectionError",)])
def test_reopen_on_takes_exception_types(reopen_on: Any) -> None:
    with pytest.raises(InvalidLine, match="resource 'pool': reopen_on must be a tuple of exception types"):
        Pools().resource(reopen_on=reopen_on)
