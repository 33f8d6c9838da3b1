"""A source topic is deleted and created again under a running worker: it says so, and no record is skipped."""

from __future__ import annotations

import time

import pytest

from metroline.agents.kafka.topic_admin import TopicAdmin
from tests.support.depot import Depot, numbered

SAID_SECONDS = 30.0


@pytest.mark.long
@pytest.mark.parametrize("broker", ["kafka"], indirect=True)  # clients of the embedded one crash on a deleted topic
async def test_a_source_that_was_created_again_and_is_longer_than_before_is_read_from_its_beginning(
    depot: Depot,
) -> None:
    worker = depot.start()
    await depot.push(numbered(range(20)))
    await depot.settled(20)

    await TopicAdmin(depot.cluster).delete([depot.topics.source])
    await depot.until(lambda: is_gone(depot))
    await depot.push(numbered(range(100, 160)))
    began = time.monotonic()
    await depot.until(lambda: worker.child.exit_code is not None, watch=False)
    assert time.monotonic() - began < SAID_SECONDS
    assert await depot.stop(worker) == 1
    said = worker.child.log.read_text().strip().splitlines()[-1]
    assert depot.topics.source in said
    assert "set SOURCE_EPOCH to 1" in said

    before = sum((await depot.counts()).values())
    depot.start(SOURCE_EPOCH="1")
    await depot.settled(before + 60)


async def is_gone(depot: Depot) -> bool:
    return not await TopicAdmin(depot.cluster).partitions([depot.topics.source])
