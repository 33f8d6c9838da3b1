"""Records that a service lets wait come back at their time, or go on, over crashes of the worker."""

from __future__ import annotations

import time

import pytest
from aiokafka import TopicPartition

from metroline.agents.kafka.topic_admin import TopicAdmin
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


async def all_wait(depot: Depot) -> bool:
    """Return whether everything in the source and on the topic of the stop is acknowledged, so that it waits.

    The embedded broker does not say what is acknowledged.
    """
    if depot.broker.name == "embedded":
        return await depot.waits()
    bus, on_ramp = f"{depot.prefix}@all", depot.topics.on_ramp_group(0)
    topics = {depot.topics.source: on_ramp, depot.topics.at("service.onward"): bus}
    partitions = [TopicPartition(topic, number) for topic in topics for number in range(depot.partitions)]
    ends = await TopicAdmin(depot.cluster).high_watermarks(partitions)
    async with depot.cluster.admin() as admin:
        committed = {
            tp: at.offset
            for group in topics.values()
            for tp, at in (await admin.list_consumer_group_offsets(group)).items()
        }
    return await depot.waits() and all(committed.get(tp, 0) >= end for tp, end in ends.items())


@pytest.mark.long
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
    await depot.until(lambda: all_wait(depot))
    await depot.push(numbered(range(200, 400), how="again", due=due))
    await depot.kill(worker)
    killed_at = time.time()

    await depot.ready(depot.start(strategy, CHAINING=chaining))
    await depot.settled(400)
    journeys = list((await depot.journeys()).values())
    assert sorted(one.record["n"] for one in journeys) == list(range(400))
    if depot.broker.name == "kafka":
        assert all(one.record.get("left", 0) < killed_at for one in journeys), "no service was called for them again"
    for one in journeys:
        assert one.way == ((one.record["how"], "last"), Ending.DELIVERED, None)
        assert one.record["arrived"] >= due
        assert one.record.get("came", due) >= due
