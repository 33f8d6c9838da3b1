"""Resources: opened before the first call of a service that takes them, closed after the last one."""

from __future__ import annotations

import asyncio
import logging
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from metroline import resource
from metroline.agents.services.resource import Resource
from metroline.agents.services.service import Record, Service, service
from metroline.agents.stops import open_resources
from metroline.agents.stops.open_resources import OpenResources
from metroline.agents.stops.resource_keeper import ResourceNotOpened
from metroline.routing.errors import MetrolineError, UsageError
from tests.support.bench import Bench, envelope


def declared(*openers: Callable[..., Any]) -> dict[str, Resource]:
    """Return the resources that functions declare, by name."""
    found: list[Resource] = [resource(opener).__resource__ for opener in openers]  # type: ignore[attr-defined]
    return {one.name: one for one in found}


def service_of(function: Callable[..., Any]) -> Service:
    made: Service = service(function).__metroline__  # type: ignore[attr-defined]
    return made


class Book:
    """Notes what happened."""

    def __init__(self) -> None:
        self.events: list[str] = []

    def resource(self, name: str, *needs: str) -> dict[str, Resource]:
        """Return a resource that takes others, by its name."""

        @asynccontextmanager
        async def open(**taken: Any) -> AsyncIterator[str]:
            self.events.append(f"open {name}({', '.join(taken)})")
            yield f"the {name}"
            self.events.append(f"close {name}")

        return {name: Resource(name, open, parameters=dict.fromkeys(needs, True))}


async def test_a_service_is_called_with_the_resources_that_it_takes(bench: Bench) -> None:
    book = Book()
    resources = book.resource("pool", "log") | book.resource("log") | book.resource("unused")

    def price(record: Record, id: str, pool: str, limit: int = 3) -> Record:
        book.events.append(f"call with {pool}, {id}, {limit}")
        return record

    stop = bench.stop(price, takes_id=True, others={"pool": True, "limit": False})
    async with OpenResources(resources) as opened:
        await stop.connect(opened)
        assert book.events == ["open log()", "open pool(log)"]
        await bench.complete(stop.handle, envelope({"size": 1}))
    assert book.events[2:] == ["call with the pool, source-0-0, 3", "close pool", "close log"]


async def test_resources_are_shared_and_opened_once() -> None:
    book = Book()
    resources = book.resource("pool")

    def price(record: Record, pool: str) -> Record:
        return record | {"pool": pool}

    async with OpenResources(resources) as opened:
        one, other = await opened.connect(service_of(price)), await opened.connect(service_of(price))
        assert one.handler({}) == other.handler({}) == {"pool": "the pool"}
    assert book.events == ["open pool()", "close pool"]


async def test_a_given_value_takes_the_place_of_a_resource() -> None:
    async def pool() -> AsyncIterator[str]:
        raise AssertionError("a fake is used")
        yield

    def price(record: Record, pool: str, other: str) -> Record:
        return {"pool": pool, "other": other}

    async with OpenResources(declared(pool), {"pool": "a fake", "other": "another"}) as opened:
        connected = await opened.connect(service_of(price))
        assert connected.handler({}) == {"pool": "a fake", "other": "another"}


@pytest.mark.parametrize("error", [ConnectionRefusedError("no database"), SystemExit(3), asyncio.CancelledError("odd")])
async def test_a_resource_that_cannot_be_opened_says_why_and_where_and_those_opened_before_are_closed(
    error: BaseException,
) -> None:
    book = Book()

    async def pool(log: str) -> AsyncIterator[None]:
        raise error
        yield

    def price(record: Record, pool: str) -> Record:
        return record

    resources = declared(pool) | book.resource("log")
    with pytest.raises(ResourceNotOpened) as raised:
        async with OpenResources(resources) as opened:
            await opened.connect(service_of(price))
    text = f"{type(error).__name__}: {error}"
    assert str(raised.value).startswith(
        f"the resource 'pool' of the line cannot be opened: {text} (test_open_resources"
    )
    assert str(raised.value).endswith(" in pool)")
    assert book.events == ["open log()", "close log"]


async def test_a_resource_that_could_not_be_opened_is_not_opened_again() -> None:
    attempts: list[int] = []

    async def pool() -> AsyncIterator[None]:
        attempts.append(1)
        raise ConnectionError("no database")
        yield

    def price(record: Record, pool: object) -> Record:
        return record

    async with OpenResources(declared(pool)) as opened:
        for _ in range(3):
            with pytest.raises(ResourceNotOpened, match="no database"):
                await opened.connect(service_of(price))
    assert attempts == [1]


async def test_an_error_of_wrong_use_stays_one() -> None:
    async def settings_of() -> AsyncIterator[None]:
        raise UsageError("SHOP_URL is missing")
        yield

    def price(record: Record, settings_of: object) -> Record:
        return record

    with pytest.raises(UsageError, match="SHOP_URL is missing"):
        async with OpenResources(declared(settings_of)) as opened:
            await opened.connect(service_of(price))


async def test_a_resource_that_takes_too_long_to_open_says_where_it_stands() -> None:
    @resource(timeout=0.05)
    async def pool() -> AsyncIterator[None]:
        await asyncio.Event().wait()
        yield

    def price(record: Record, pool: object) -> Record:
        return record

    found = pool.__resource__  # type: ignore[attr-defined]
    with pytest.raises(MetrolineError, match=r"'pool' of the line was not opened within 0.05 s: it stands in .*pool"):
        async with OpenResources({"pool": found}) as opened:
            await opened.connect(service_of(price))


async def test_a_worker_that_stops_meanwhile_does_not_wait_until_a_resource_is_open() -> None:
    events: list[str] = []

    async def pool() -> AsyncIterator[None]:
        events.append("opening")
        try:
            await asyncio.Event().wait()
            yield
        finally:
            events.append("left")

    def price(record: Record, pool: object) -> Record:
        return record

    opened = OpenResources(declared(pool))
    starting = asyncio.create_task(opened.connect(service_of(price)))
    while not events:
        await asyncio.sleep(0)
    await asyncio.wait_for(opened.close(), 1)
    with pytest.raises(asyncio.CancelledError):
        await starting
    assert events == ["opening", "left"]


async def test_a_resource_is_left_by_the_task_that_entered_it() -> None:
    tasks: list[Any] = []

    async def pool() -> AsyncIterator[None]:
        async with asyncio.timeout(60):  # refuses to be left by another task
            tasks.append(asyncio.current_task())
            yield
            tasks.append(asyncio.current_task())

    def price(record: Record, pool: object) -> Record:
        return record

    opened = OpenResources(declared(pool))
    await asyncio.create_task(opened.connect(service_of(price)))
    await asyncio.create_task(opened.close())
    assert tasks[0] is tasks[1]


async def test_a_resource_that_fails_while_it_is_closed_is_logged_and_the_others_are_closed(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(open_resources, "CLOSE_SECONDS", 0.1)
    book = Book()

    async def broken() -> AsyncIterator[None]:
        yield
        sys.exit("bye")

    async def stuck() -> AsyncIterator[None]:
        yield
        await asyncio.Event().wait()

    def price(record: Record, good: object, broken: object, stuck: object) -> Record:
        return record

    resources = declared(broken, stuck) | book.resource("good")
    async with OpenResources(resources) as opened:
        await opened.connect(service_of(price))
    assert book.events == ["open good()", "close good"]
    said = [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]
    assert any("the resource 'broken' ended with an error: SystemExit: bye" in line for line in said)
    assert any(line.startswith("the resource 'stuck' was not closed in time: ") and "stuck" in line for line in said)


async def test_resources_are_closed_only_after_calls_that_were_cancelled_have_ended(bench: Bench) -> None:
    book = Book()
    resources = book.resource("pool")
    began = asyncio.Event()

    async def price(record: Record, pool: str) -> Record:
        began.set()
        try:
            await asyncio.sleep(60)
        finally:
            await asyncio.sleep(0.05)
            book.events.append("the call has ended")
        return record

    stop = bench.stop(price, others={"pool": True})
    opened = OpenResources(resources)
    await stop.connect(opened)
    await bench.begin(stop.handle, envelope({"size": 1}))
    await began.wait()
    stop.cancel()
    await asyncio.sleep(0)
    await opened.close()
    assert book.events == ["open pool()", "the call has ended", "close pool"]
