"""Strategies on real workers: all lead to the same outcomes, and a journey ends with the one it began with."""

from __future__ import annotations

from dataclasses import replace

import pytest
from aiokafka import TopicPartition

from metroline.routing.strategies import STRATEGIES
from tests.support.brokers import EMBEDDED_FIRST
from tests.support.depot import Depot, check_ways, numbered


@pytest.mark.parametrize("chaining", [pytest.param("off", marks=pytest.mark.long), "stops"])
@EMBEDDED_FIRST
async def test_four_lines_on_one_source_each_by_its_strategy_do_the_same_with_every_record(
    depot: Depot, chaining: str
) -> None:
    await depot.create_source()
    lines = {name: replace(depot, prefix=f"{depot.prefix}.{name}", workers=depot.workers) for name in STRATEGIES}
    for strategy, line in lines.items():
        line.start(strategy, SOURCE=depot.topics.source, CHAINING=chaining)
    await depot.push(numbered(range(400)))

    for strategy, line in lines.items():
        await line.settled(400)
        journeys = (await line.journeys()).values()
        check_ways(journeys, range(400))
        assert {journey.strategy for journey in journeys} == {strategy}
        assert await line.duplicates() == 0
    final = [{number: journey.record for number, journey in (await line.journeys()).items()} for line in lines.values()]
    assert all(records == final[0] for records in final)


@EMBEDDED_FIRST
async def test_journeys_under_way_end_as_they_began_when_the_strategy_is_switched(depot: Depot) -> None:
    first, later = range(16), range(16, 32)
    before = depot.start("conductor")
    await depot.ready()
    await depot.push(numbered(first, takes=0.2))
    at_weigh = [TopicPartition(depot.topics.at("service.weigh"), number) for number in range(depot.partitions)]
    await depot.until(lambda: depot.holds_messages(*at_weigh))

    assert await depot.stop(before) == 0
    assert sum((await depot.counts()).values()) < len(first), "journeys are under way"
    depot.start("map_maker")
    await depot.push(numbered(later))
    await depot.settled(32)

    journeys = (await depot.journeys()).values()
    check_ways(journeys, range(32))
    for journey in journeys:
        if journey.record["n"] in first:
            assert journey.deciders == {"conductor"}
        else:
            assert journey.deciders <= {"map-maker", "switch"}
    assert await depot.duplicates() == 0
