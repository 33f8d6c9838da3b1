"""A source topic gains partitions while the line runs: the topics of the line grow with it, and nothing is lost."""

from __future__ import annotations

import pytest

from metroline.agents.kafka.topic_admin import TopicAdmin
from tests.support.depot import Depot, check_ways, numbered


@pytest.mark.long
@pytest.mark.parametrize("broker", ["kafka"], indirect=True)  # the embedded one cannot add partitions to a topic
@pytest.mark.parametrize("chaining", ["on", "off"])
async def test_a_running_line_grows_with_its_source(depot: Depot, chaining: str) -> None:
    roles = ("on-ramp,router", "service:weigh,service:crane,arrivals", "service:shelf")
    workers = [depot.start(role=role, strategy="map_maker", CHAINING=chaining) for role in roles]
    await depot.push(numbered(range(20)))
    await depot.settled(20)

    await TopicAdmin(depot.cluster).add_partitions({depot.topics.source: 6})
    depot.partitions = 6
    await depot.push(numbered(range(20, 80)))
    await depot.settled(80)

    assert not await depot.letters()
    if chaining == "off":
        check_ways((await depot.journeys()).values(), range(80))
    counts = await TopicAdmin(depot.cluster).partitions([depot.topics.at("arrivals"), depot.topics.rules])
    assert counts == {depot.topics.at("arrivals"): 6, depot.topics.rules: 1}
    assert [await depot.stop(worker) for worker in workers] == [0, 0, 0]
