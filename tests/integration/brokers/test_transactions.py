"""Records of a transaction that was aborted never enter, and groups show their true lag to Kafka's own tools."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest
from confluent_kafka import Producer

from tests.support.depot import Depot, numbered

pytestmark = pytest.mark.parametrize("broker", ["kafka"], indirect=True)  # the embedded one has no transactions


def write(depot: Depot, messages: Sequence[bytes], *, commits: bool) -> None:
    """Write messages to the partitions of the source in turn, in one transaction."""
    producer = Producer({"bootstrap.servers": depot.broker.bootstrap, "transactional.id": depot.prefix})
    producer.init_transactions(30)
    producer.begin_transaction()
    for number, message in enumerate(messages):
        producer.produce(depot.topics.source, message, partition=number % depot.partitions)
    producer.flush(30)
    if commits:
        producer.commit_transaction(30)
    else:
        producer.abort_transaction(30)


async def lags(depot: Depot) -> dict[tuple[str, str, int], int]:
    """Return the lag of each group of the line in each partition that it committed, as `kafka-consumer-groups` does."""
    async with depot.cluster.admin() as admin, depot.cluster.consumer() as consumer:
        groups = [group for group, *_ in await admin.list_consumer_groups() if group.startswith(depot.prefix)]
        assert f"{depot.prefix}.on-ramp" in groups
        found: dict[tuple[str, str, int], int] = {}
        for group in groups:
            committed = await admin.list_consumer_group_offsets(group)
            ends = await consumer.end_offsets(list(committed))
            found |= {(group, tp.topic, tp.partition): ends[tp] - at.offset for tp, at in committed.items()}
        return found


@pytest.mark.parametrize("chaining", ["off", "on"])
async def test_only_committed_transactions_enter_and_their_ends_leave_no_lag(depot: Depot, chaining: str) -> None:
    await depot.create_source()
    depot.start(CHAINING=chaining)
    await depot.ready()
    await asyncio.to_thread(write, depot, numbered(range(1, 40, 2)), commits=True)
    await asyncio.to_thread(write, depot, numbered(["aborted"] * 8), commits=False)
    await asyncio.to_thread(write, depot, numbered(range(41, 60, 2)), commits=True)
    await asyncio.to_thread(write, depot, numbered(["aborted"] * 8), commits=False)

    await depot.settled(30)

    async def is_idle() -> bool:
        found = await lags(depot)
        assert all(lag >= 0 for lag in found.values()), found
        sources = {partition for _, topic, partition in found if topic == depot.topics.source}
        return sources == set(range(depot.partitions)) and not any(found.values())

    await depot.until(is_idle, 60)
    assert all(record["n"] != "aborted" for record in await depot.delivered())
    told = (await asyncio.to_thread(depot.workers[0].get, "/table/outcomes/"))["losses"]
    assert told == []
    assert {topic for group, topic, _ in await lags(depot) if group.endswith(".on-ramp")} == {
        depot.topics.source,
        depot.topics.rules,
    }


async def test_a_group_shows_what_waits_for_it(depot: Depot) -> None:
    await depot.push(numbered(range(1, 9, 2)))
    worker = depot.start()
    await depot.settled(4)
    await depot.stop(worker)
    await depot.push(numbered(range(11, 27, 2)))

    waiting = {key: lag for key, lag in (await lags(depot)).items() if lag}

    group = f"{depot.prefix}.on-ramp"
    assert waiting == {(group, depot.topics.source, number): 2 for number in range(depot.partitions)}
