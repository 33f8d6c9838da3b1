"""A worker whose membership stands still ends with an error, and says where it stood."""

from __future__ import annotations

import pytest

from tests.support.depot import RULES, SERVICES, Depot

STUCK = """
from aiokafka.consumer.group_coordinator import GroupCoordinator
from metroline.app import factory

factory.ABSENT_SECONDS = 1.0


async def stand_still(self, subscription, previous):
    await asyncio.sleep(3600)


GroupCoordinator.ensure_active_group = stand_still
"""


@pytest.mark.long
async def test_a_worker_that_never_joins_its_group_ends(depot: Depot) -> None:
    depot.write(SERVICES + STUCK, RULES)
    told = await depot.refused(BROKER_REBALANCE_TIMEOUT="1", BROKER_SESSION_TIMEOUT="6")
    group = f"{depot.prefix}@all"
    assert told.startswith(f"error: the worker has been outside of the consumer group {group} for ")
    [log] = [worker.read_text() for worker in depot.logs.glob("worker-*.log")]
    assert f"the worker gets no nearer to the consumer group {group}: " in log
    assert "stand_still" in log
