"""Records that failed wait on the bus, hold up no other record, and go on when their wait is over."""

from __future__ import annotations

import orjson
import pytest

from metroline.routing.outcome import Ending
from tests.support.depot import Depot, check_ways, numbered

MANY = {"SERVICE_ATTEMPTS": "50", "SERVICE_BACKOFF": "1.5", "SERVICE_BACKOFF_MAX": "3"}


async def test_what_fails_for_a_while_arrives_after_it_and_the_others_before(depot: Depot) -> None:
    await depot.create_source()
    worker = depot.start("map_maker", **MANY)
    await depot.ready(worker)
    await depot.push(numbered(range(0, 40), fails=True))
    await depot.push(numbered(range(40, 400)))
    await depot.settled(360)
    await depot.until(depot.waits)

    depot.open_gate()
    await depot.settled(400)
    journeys = await depot.journeys()
    check_ways(journeys.values(), range(400))
    assert not (await depot.counts()).get(Ending.DEAD)


@pytest.mark.parametrize("broker", ["kafka"], indirect=True)
async def test_a_wait_outlives_its_worker(depot: Depot) -> None:
    await depot.create_source()
    worker = depot.start("signpost", **MANY)
    await depot.ready(worker)
    await depot.push(numbered(range(30), fails=True))
    await depot.until(depot.waits)
    await depot.kill(worker)
    again = depot.start("signpost", **MANY)
    await depot.ready(again)
    depot.open_gate()
    await depot.settled(30)
    check_ways((await depot.journeys()).values(), range(30))


@pytest.mark.parametrize("broker", ["embedded"], indirect=True)  # nothing in it depends on the broker
async def test_attempts_end_as_a_dead_letter_with_every_cause(depot: Depot) -> None:
    await depot.create_source()
    worker = depot.start("conductor", SERVICE_ATTEMPTS="3", SERVICE_BACKOFF="0.4")
    await depot.ready(worker)
    await depot.push(numbered(range(6), fails=True))
    await depot.settled(6)
    assert (await depot.counts())[Ending.DEAD] == 6
    for segment in await depot.dead():
        assert segment.attempts is not None
        assert len(segment.attempts.causes) == 3
        assert all("the scales are not ready" in cause for cause in segment.attempts.causes)


ORDERED = """
from pathlib import Path

from metroline import service

GATE = Path(__file__).parent / "gate"


@service(ordered=True)
def account(record):
    if record["locked"] and not GATE.exists():
        raise OSError("locked")
    return record
"""


@pytest.mark.parametrize("broker", ["kafka"], indirect=True)
async def test_at_an_ordered_stop_those_behind_wait_in_order_also_over_a_crash(depot: Depot) -> None:
    depot.write(ORDERED, '[[rules]]\nafter = "source"\nto = "account"\n')
    await depot.create_source()
    worker = depot.start("signpost", **MANY)
    await depot.ready(worker)
    await depot.push(orjson.dumps({"n": n, "locked": n % 40 == 20}) for n in range(400))
    await depot.until(lambda: depot.more_than(20))
    await depot.kill(worker)
    await depot.ready(depot.start("signpost", **MANY))
    depot.open_gate()
    await depot.settled(400)
    arrived = list(await depot.journeys())
    for partition in range(depot.partitions):
        ids = [record for _, number, record in arrived if number == partition]
        assert ids == sorted(ids)
