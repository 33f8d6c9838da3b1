"""Resources, settings, batches and types of records in a real worker, on a broker."""

from __future__ import annotations

import os
import signal

import orjson
import pytest

from metroline.routing.outcome import Ending
from tests.support.brokers import EMBEDDED_FIRST
from tests.support.depot import Depot

SERVICES = """
import asyncio
from pathlib import Path
from typing import TypedDict

from pydantic_settings import BaseSettings

from metroline import Drop, resource, service

BOOK = Path(__file__).parent / "book"


def note(event):
    with BOOK.open("a") as book:
        book.write(event + "\\n")


class Settings(BaseSettings):
    depot_city: str
    depot_fails: bool = False


class Parcel(TypedDict):
    n: int


@resource
async def scales(settings):
    if settings.depot_fails:
        raise ConnectionError("the scales are away")
    async with asyncio.timeout(None):
        note(f"open in {settings.depot_city}")
        yield settings.depot_city
        note("closed")


@service(batch=True, max_batch=50)
async def weigh(parcels: list[Parcel], ids, scales) -> list[Parcel]:
    note(f"call for {len(parcels)}")
    await asyncio.sleep(0.05)
    if any(parcel["n"] == -1 for parcel in parcels):
        await asyncio.sleep(1)  # the worker is asked to stop meanwhile
        note("last call ended")
    return [Drop("nine") if parcel["n"] % 10 == 9 else parcel | {"city": scales} for parcel in parcels]
"""

RULES = '[[rules]]\nafter = "source"\nto = "weigh"\n'


def events(depot: Depot) -> list[str]:
    """Return what the line's code noted."""
    book = depot.folder / "book"
    return book.read_text().splitlines() if book.exists() else []


@EMBEDDED_FIRST
async def test_a_worker_opens_what_services_hold_calls_them_in_batches_and_closes_it(depot: Depot) -> None:
    depot.write(SERVICES, RULES)
    worker = depot.start(DEPOT_CITY="Ulm", CHAINING="on")
    await depot.ready(worker)
    assert events(depot) == ["open in Ulm"]

    records = [orjson.dumps({"n": n, "other": "kept"}) for n in range(1_000)]
    await depot.push([*records, b'{"n": "ten"}'])
    await depot.settled(1_001)
    assert await depot.counts() == {Ending.DELIVERED: 900, Ending.DROPPED: 100, Ending.DEAD: 1}
    assert {"n": 4, "other": "kept", "city": "Ulm"} in await depot.delivered()
    [(_, reason, _)] = await depot.letters()
    assert reason == "schema: Parcel: n: expected int, got str"
    calls = [int(event.split()[-1]) for event in events(depot)[1:]]
    assert sum(calls) == 1_000
    assert len(calls) < 200

    await depot.push([b'{"n": -1}'])
    await depot.until(lambda: sum(event.startswith("call for") for event in events(depot)) > len(calls))
    os.kill(worker.child.pid, signal.SIGTERM)
    await depot.until(lambda: worker.child.exit_code is not None, 30, watch=False)
    assert events(depot)[-1] == "closed", "nothing is closed before the last call has ended"


@pytest.mark.parametrize("broker", ["embedded"], indirect=True)  # nothing in it depends on the broker
async def test_a_worker_whose_resource_or_settings_fail_ends_with_one_line_that_says_so(depot: Depot) -> None:
    depot.write(SERVICES, RULES)
    await depot.create_source()
    assert await depot.refused(DEPOT_CITY="Ulm", DEPOT_FAILS="yes") == (
        "error: the resource 'scales' of the line cannot be opened: ConnectionError: the scales are away "
        "(services.py:30 in scales)"
    )
    worker = depot.start()
    await depot.until(lambda: worker.child.exit_code is not None, 60, watch=False)
    assert await depot.stop(worker) == 2
    assert worker.child.last_words(1).endswith(
        "error: the settings of the line: DEPOT_CITY is missing from the environment"
    )


BREAKS = """
import asyncio

from metroline import resource, service


class Scales:
    def __init__(self):
        self.calls = 0
        self.wears_out = asyncio.Event()

    async def wear_out(self):
        await self.wears_out.wait()
        raise ConnectionError("the scales are worn out")


opened = 0


@resource
async def scales():
    global opened
    opened += 1
    if opened == 2:
        raise ConnectionError("no other scales yet")
    async with asyncio.TaskGroup() as group:
        made = Scales()
        wearing = group.create_task(made.wear_out())
        yield made
        wearing.cancel()


@service(attempts=2, concurrency=4)
async def weigh(parcel, scales):
    scales.calls += 1
    if opened == 1 and scales.calls == 20:
        scales.wears_out.set()
    await asyncio.sleep(0)
    if scales.wears_out.is_set():
        raise RuntimeError("the scales show nothing")
    return parcel | {"opened": opened}
"""


async def test_records_wait_without_failing_while_a_resource_is_opened_again(depot: Depot) -> None:
    depot.write(BREAKS, RULES)
    worker = depot.start()
    await depot.ready(worker)
    await depot.push([orjson.dumps({"n": n}) for n in range(100)])
    await depot.settled(100)
    assert await depot.counts() == {Ending.DELIVERED: 100}
    assert {record["opened"] for record in await depot.delivered()} == {1, 3}
    log = worker.child.log.read_text()
    assert "the resource 'scales' is broken, and is opened again: ConnectionError: the scales are worn out" in log
    assert "the resource 'scales' is still broken: " in log
    assert "the resource 'scales' is open again, after 1." in log
