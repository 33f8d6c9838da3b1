"""Topics are created, grown and described on real brokers."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from metroline.agents.kafka.cluster import Cluster, ClusterError
from metroline.agents.kafka.topic_admin import BROKERS_REPLICATION, TopicAdmin, TopicPlan
from tests.support.brokers import Broker


@pytest.fixture
async def admin(broker: Broker, prefix: str) -> AsyncIterator[TopicAdmin]:
    admin = TopicAdmin(Cluster.at(broker.url))
    yield admin
    await admin.delete(await admin.topics_below(prefix))


async def test_both_brokers_choose_the_replication_factor_themselves(admin: TopicAdmin, prefix: str) -> None:
    await admin.create([TopicPlan(f"{prefix}.a", 3)], BROKERS_REPLICATION)

    assert await admin.partitions([f"{prefix}.a"]) == {f"{prefix}.a": 3}


@pytest.mark.parametrize("broker", ["kafka"], indirect=True)  # the embedded one takes any number of copies
async def test_more_copies_than_brokers_are_refused_with_the_setting(admin: TopicAdmin, prefix: str) -> None:
    with pytest.raises(
        ClusterError, match=r"InvalidReplicationFactorError.*: set TOPIC_REPLICATION_FACTOR to a number"
    ):
        await admin.create([TopicPlan(f"{prefix}.a", 1)], 7)
