"""Rules published while records flow: later records take the new route without a restart, except with `hard_wired`."""

from __future__ import annotations

import time

from metroline.agents.tables.publication import Publication
from metroline.app.operations.permission import Permission
from metroline.app.operations.rules_topic import publish
from metroline.routing.strategies import STRATEGIES
from tests.support.brokers import EMBEDDED_FIRST
from tests.support.depot import RULES, Depot, Journey, numbered

ALL_LIFTED = RULES.replace('match = { heavy = true }\nto = "crane"', 'to = "crane"').split('\n[[rules]]\nname = "some')[
    0
]
ALL_LIFTED += '\n[[rules]]\nname = "and the lifted ones"\nafter = "crane"\nto = "shelf"\n'
"""A table that sends every record along weigh > crane > shelf."""

INVALID = RULES.replace('to = "crane"', 'to = "nowhere"')


async def published(depot: Depot, text: str, replaces: int) -> int:
    """Publish a table without checking it, and return its version."""
    return await publish(
        depot.cluster, depot.topics, Publication(text, replaces, "a test", time.time()), Permission.of_command()
    )


@EMBEDDED_FIRST
async def test_later_records_go_the_new_way_under_every_strategy_but_hard_wired(depot: Depot) -> None:
    """The line has four on-ramps, each with a partition of the source and a strategy of its own."""
    depot.start(role="router,arrivals,service:weigh,service:crane,service:shelf")
    on_ramps = {name: depot.start(name, "on-ramp") for name in STRATEGIES}
    await depot.ready()
    pushed = 0

    async def four_strategies() -> bool:
        nonlocal pushed
        await depot.push(numbered(range(pushed, pushed + 40, 5)))
        pushed += 40
        await depot.settled(pushed // 5)
        journeys = (await depot.journeys()).values()
        return {one.strategy for one in journeys if one.record["n"] >= pushed - 40} == STRATEGIES.keys()

    await depot.until(four_strategies)
    before = pushed
    assert all(way(journey) == old_way(journey) for journey in (await depot.journeys()).values())

    new = await published(depot, ALL_LIFTED, replaces=1)
    stale = await published(depot, RULES, replaces=1)
    invalid = await published(depot, INVALID, replaces=new)
    await depot.until(lambda: depot.all_have(new, 5))
    await depot.until(four_strategies)

    later = [one for one in (await depot.journeys()).values() if one.record["n"] >= before]
    for journey in later:
        if journey.strategy == "hard_wired":
            assert way(journey) == old_way(journey)
        else:
            assert way(journey) == ("weigh", "crane", "shelf")
            assert {visit.version for visit in journey.history} == {new}
    told = {name: worker.child.log.read_text() for name, worker in on_ramps.items()}
    assert [name for name in told if "hard_wired keep to the line's file" in told[name]] == ["hard_wired"]
    assert all(f"version {invalid} of the rules table is not used" in text for text in told.values())
    ignored = f"version {stale} of the rules table is ignored: it replaces version 1, but version {new} is current"
    assert any(ignored in worker.child.log.read_text() for worker in depot.workers)

    latecomer = depot.start(role="on-ramp")
    await depot.until(lambda: f"the rules table is at version {new}," in latecomer.child.log.read_text())
    assert "the rules table is at version 1," not in latecomer.child.log.read_text()


def way(journey: Journey) -> tuple[str, ...]:
    return journey.way[0]


def old_way(journey: Journey) -> tuple[str, ...]:
    """Return the route by the line's file; the numbers here are multiples of five."""
    return ("weigh",) if journey.record["n"] % 2 else ("weigh", "crane", "shelf")
