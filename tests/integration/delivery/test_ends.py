"""Rules deliver records at named ends, each with a topic of its own that others may have made."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from itertools import chain

import orjson
import pytest

from metroline.agents.kafka.topic_admin import TopicAdmin, TopicPlan
from metroline.agents.kafka.topic_reader import read_topic
from metroline.routing.outcome import Ending
from tests.support.brokers import EMBEDDED_FIRST
from tests.support.depot import Depot, numbered

RULES = """
[[rules]]
after = "source"
to = "weigh"

[[rules]]
name = "the first ones stay"
after = "weigh"
when = "n < 8"
to = "end"

[[rules]]
name = "heavy ones are shipped"
after = "weigh"
match = { heavy = true }
to = "shipped"

[[rules]]
name = "light ones go by their number"
after = "weigh"
match = { heavy = false }
to = "numbers"
"""


async def values(depot: Depot, topic: str) -> dict[bytes | None, list[int]]:
    """Return the numbers of the records on a topic, in order, by key."""
    found: dict[bytes | None, list[int]] = defaultdict(list)
    async for message in read_topic(depot.cluster, topic):
        found[message.key].append(orjson.loads(message.value)["n"])
    return dict(found)


@pytest.mark.parametrize(("strategy", "chaining"), [("map_maker", "on"), ("conductor", "off")])
@EMBEDDED_FIRST
async def test_each_record_is_delivered_at_the_end_that_its_rule_names(
    depot: Depot, strategy: str, chaining: str
) -> None:
    shipped, numbers = f"{depot.prefix}.out.shipped", f"{depot.prefix}.out.numbers"
    depot.write((depot.folder / "services.py").read_text(), RULES)
    (depot.folder / "line.toml").write_text(
        f'[ends.shipped]\ntopic = "{shipped}"\n\n[ends.numbers]\ntopic = "{numbers}"\nkey = "n"\n'
    )
    config = {"cleanup.policy": "compact"} if depot.broker.name == "kafka" else {}
    await TopicAdmin(depot.cluster).create([TopicPlan(shipped, 2, config)])  # as others made it
    worker = depot.start(strategy, CHAINING=chaining)
    await depot.push([*numbered(range(20)), *numbered(["refused"])])
    await depot.settled(21)

    assert await depot.counts() == {Ending.DELIVERED: 20, Ending.DEAD: 1}
    assert sorted(chain.from_iterable((await values(depot, depot.topics.delivered)).values())) == list(range(8))
    assert await values(depot, numbers) == {b"%d" % number: [number] for number in (9, 11, 13, 15, 17, 19)}
    found = await values(depot, shipped)
    assert sorted(chain.from_iterable(found.values())) == [8, 10, 12, 14, 16, 18]
    if depot.broker.name == "kafka":
        assert sorted(map(str, found)) == sorted(f"b'source-{number % 4}-{number // 4}'" for number in range(8, 20, 2))
    else:
        assert set(found) == {None}

    traffic = await asyncio.to_thread(worker.get, "/traffic/")
    assert traffic is not None
    assert {name: traffic["traffic"][name]["records"] for name in ("delivered", "end.shipped", "end.numbers")} == {
        "delivered": 8,
        "end.shipped": 6,
        "end.numbers": 6,
    }
    outcomes = await asyncio.to_thread(worker.get, "/table/outcomes/")
    assert outcomes is not None
    assert {(row["ending"], row["reason"]): row["count"] for row in outcomes["counts"]} == {
        ("delivered", ""): 8,
        ("delivered", "shipped"): 6,
        ("delivered", "numbers"): 6,
        ("dead", "service_error"): 1,
    }
