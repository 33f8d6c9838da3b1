"""With three brokers, one may be killed or stopped while records flow: nothing is lost, and nothing counts twice."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from metroline.agents.kafka.topic_admin import TopicAdmin
from metroline.routing.strategies import STRATEGIES
from tests.chaos.plan import CREWS
from tests.chaos.pushing import Pusher
from tests.chaos.run import VARIABLES, check_sums, settle
from tests.support.depot import Depot
from tests.support.kafka_cluster import COPIES, KafkaCluster, running_cluster
from tests.support.kafka_node import KafkaNode

IS_LONG = "BASE" in os.environ
"""True for `make kafka-test`, which also runs these tests under each strategy, with each node away in turn."""

RATE = 20.0
"""Messages per second; three brokers share two cores with the workers."""

REST_SECONDS = 1.0
"""Time for which records flow before a node is away, and while it is."""


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KafkaCluster]:
    """Run three brokers for these tests only, since they kill them."""
    with running_cluster(tmp_path_factory.mktemp("three")) as cluster:
        yield cluster


@pytest.mark.skipif(IS_LONG, reason="the long run is asked for")
@pytest.mark.timeout(900)
async def test_a_broker_of_three_that_is_killed_takes_no_record_with_it(
    cluster: KafkaCluster, prefix: str, tmp_path: Path
) -> None:
    await endure(cluster, prefix, tmp_path, ("all",), "signpost", (KafkaNode.kill,))


@pytest.mark.skipif(not IS_LONG, reason="`make kafka-test` runs it")
@pytest.mark.timeout(900)
@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("crew", CREWS)
async def test_each_broker_of_three_may_be_away_in_turn(
    cluster: KafkaCluster, prefix: str, tmp_path: Path, crew: str, strategy: str
) -> None:
    await endure(cluster, prefix, tmp_path, CREWS[crew], strategy, (KafkaNode.kill, KafkaNode.stop, KafkaNode.kill))


async def endure(
    cluster: KafkaCluster,
    prefix: str,
    path: Path,
    roles: tuple[str, ...],
    strategy: str,
    faults: tuple[Callable[[KafkaNode], None], ...],
) -> None:
    """Have nodes away, one after the other, each time the one that coordinates a worker's group; check the sums."""
    depot = Depot(cluster.broker, prefix, path / "depot", path, variables=VARIABLES)
    await depot.create_source()
    pusher = Pusher(depot, RATE)
    try:
        for role in roles:
            depot.start(strategy, role)
        await depot.until(depot.all_ready)
        pushing = asyncio.create_task(pusher.run())
        group = min(worker.group for worker in await depot.alive())
        assert cluster.leaders(depot.topics.source) == cluster.nodes.keys()
        for fault in faults:
            await asyncio.sleep(REST_SECONDS)
            await take_away(cluster, depot, group, fault)
        unconfirmed = await settle(depot, pusher, pushing)
        topics = await TopicAdmin(depot.cluster).topics_below(prefix)
        assert {copies for topic in topics for copies in cluster.copies(topic)} == {COPIES}
        for worker in list(depot.workers):
            assert await depot.stop(worker) == 0, worker.child.last_words()
    finally:
        depot.end()
    await check_sums(depot, strategy, unconfirmed)


async def take_away(cluster: KafkaCluster, depot: Depot, group: str, fault: Callable[[KafkaNode], None]) -> None:
    """Have the node that coordinates a group away, until others have taken over and records have flowed for a while."""
    away = await asyncio.to_thread(cluster.coordinator, group)
    assert away is not None, "the cluster is whole"
    before = sum((await depot.counts()).values())
    await asyncio.to_thread(fault, cluster.nodes[away])

    def others_have_taken_over() -> bool:
        return cluster.coordinator(group) not in (away, None) and away not in cluster.leaders(depot.topics.source)

    await depot.until(lambda: asyncio.to_thread(others_have_taken_over))
    await depot.until(lambda: depot.more_than(before))
    await depot.until(depot.all_ready)
    await asyncio.sleep(REST_SECONDS)
    await asyncio.to_thread(cluster.nodes[away].start)
    await depot.until(lambda: asyncio.to_thread(cluster.is_whole, depot.topics.source))
