"""Resources, settings, batches and types of records in a real worker, on a broker."""

from __future__ import annotations

import os
import signal

import orjson
import pytest

from metroline.routing.outcome import Ending
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
