"""Records that a service lets wait come back at their time, or go on, over crashes of the worker."""

from __future__ import annotations

import time

import pytest

from metroline.routing.outcome import Ending
from tests.support.depot import Depot, numbered

SERVICES = """
import time

from metroline import Wait, service


@service
def again(record):
    if time.time() < record["due"]:
        return Wait(until=record["due"])
    record["came"] = time.time()
    return record


@service
def onward(record):
    record["left"] = time.time()
    return Wait(until=record["due"], then="next")


@service
def last(record):
    record["arrived"] = time.time()
    return record
"""

RULES = """
[[rules]]
after = "source"
match = { how = "again" }
to = "again"

[[rules]]
after = "source"
to = "onward"

[[rules]]
after = "again"
to = "last"

[[rules]]
after = "onward"
when = "left > 0"
to = "last"
"""

WAIT_SECONDS = 9.0


@pytest.mark.parametrize(
    ("broker", "strategy", "chaining"),
    [("kafka", "map_maker", "off"), ("embedded", "signpost", "stops")],
    indirect=["broker"],
)
async def test_records_that_wait_go_on_at_their_time_although_their_worker_is_killed(
    depot: Depot, strategy: str, chaining: str
) -> None:
    depot.write(SERVICES, RULES)
    await depot.create_source()
    worker = depot.start(strategy, CHAINING=chaining)
    await depot.ready(worker)
    due = time.time() + WAIT_SECONDS
    await depot.push(numbered(range(0, 200), how="onward", due=due))
    await depot.until(depot.waits)
    await depot.push(numbered(range(200, 400), how="again", due=due))
    await depot.kill(worker)
    killed_at = time.time()

    await depot.ready(depot.start(strategy, CHAINING=chaining))
    await depot.settled(400)
    journeys = list((await depot.journeys()).values())
    assert sorted(one.record["n"] for one in journeys) == list(range(400))
    assert any(one.record.get("left", due) < killed_at for one in journeys), "some of them waited before"
    for one in journeys:
        assert one.way == ((one.record["how"], "last"), Ending.DELIVERED, None)
        assert one.record["arrived"] >= due
        assert one.record.get("came", due) >= due
