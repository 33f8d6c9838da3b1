"""Tables survive restarts, rebalances and kill -9: the counts of outcomes stay exact."""

from __future__ import annotations

import asyncio
from collections import Counter

import pytest
from aiokafka import TopicPartition
from aiokafka.structs import ConsumerRecord

from metroline.agents.kafka.topic_admin import TopicAdmin, TopicPlan
from metroline.agents.kafka.topic_reader import read_topic
from metroline.routing.outcome import Ending
from tests.support.depot import Depot, check_ways, expected, numbered


def endings(count: int) -> dict[Ending, int]:
    """Return the number of each outcome among the records 0 to `count` - 1."""
    return dict(Counter(expected(number)[1] for number in range(count)))


async def test_the_end_of_a_partition_is_the_true_one_also_where_the_broker_tells_another(depot: Depot) -> None:
    """Faust recovers a table up to the end that the broker reports; the embedded broker's is nine messages too low."""
    topic, partition = f"{depot.prefix}.changelog", TopicPartition(f"{depot.prefix}.changelog", 0)
    await TopicAdmin(depot.cluster).create([TopicPlan(topic, 1)])
    async with depot.cluster.producer(linger_ms=100) as producer:
        await asyncio.gather(*[await producer.send(topic, b"%d" % number, partition=0) for number in range(10)])
    async with depot.cluster.consumer() as consumer:
        consumer.assign([partition])
        told = (await consumer.end_offsets([partition]))[partition]

    assert told == (1 if depot.broker.name == "embedded" else 10)
    assert await TopicAdmin(depot.cluster).high_watermarks([partition]) == {partition: 10}


@pytest.mark.long
async def test_counts_are_exact_while_three_workers_come_and_go(depot: Depot) -> None:
    batches = iter([numbered(range(first, first + 500)) for first in range(0, 3_000, 500)])
    workers = [depot.start(strategy) for strategy in ("signpost", "map_maker", "conductor")]
    await depot.ready()
    await depot.push(next(batches))
    await depot.until(lambda: depot.more_than(0))

    await depot.push(next(batches))
    assert await depot.stop(workers[0]) == 0
    await depot.push(next(batches))
    depot.start("map_maker")
    await depot.until(lambda: depot.more_than(1_000))
    await depot.push(next(batches))
    await depot.kill(workers[1])
    await depot.push(next(batches))
    depot.start("signpost")
    await depot.settled(2_500)
    assert await depot.counts() == endings(2_500)

    for worker in list(depot.workers):  # the embedded broker may keep a group whose members leave while it forms
        await depot.until(depot.all_ready)
        await depot.stop(worker)
    depot.start("hard_wired")
    await depot.push(next(batches))
    await depot.settled(3_000)

    assert await depot.counts() == endings(3_000)
    check_ways((await depot.journeys()).values(), range(3_000))


@pytest.mark.parametrize("broker", ["embedded"], indirect=True)  # Apache Kafka reports the true end
@pytest.mark.long
async def test_a_table_is_recovered_to_the_last_of_the_updates_that_were_written_as_one_batch(depot: Depot) -> None:
    worker = depot.start()
    await depot.ready()
    await depot.push(numbered(range(400)))
    await depot.settled(400)
    assert await depot.stop(worker) == 0
    await write_as_one_batch(depot, depot.topics.changelog("outcomes"))

    depot.start()
    await depot.push(numbered(range(400, 500)))
    await depot.settled(500)

    assert await depot.counts() == endings(500)


async def write_as_one_batch(depot: Depot, changelog: str) -> None:
    """Write, in one batch for each partition, its first message nine times and then its last message once."""
    values: dict[int, list[ConsumerRecord]] = {}
    async for message in read_topic(depot.cluster, changelog):
        values.setdefault(message.partition, []).append(message)
    async with depot.cluster.producer(linger_ms=200, max_batch_size=1024 * 1024) as producer:
        sent = [
            await producer.send(changelog, message.value, key=message.key, partition=partition)
            for partition, messages in values.items()
            for message in [messages[0]] * 9 + messages[-1:]
        ]
        await asyncio.gather(*sent)


@pytest.mark.long
async def test_counts_are_exact_when_the_only_worker_is_killed_at_work(depot: Depot) -> None:
    worker = depot.start("conductor")
    await depot.ready()
    await depot.push(numbered(range(2_000)))
    await depot.until(lambda: depot.more_than(0))

    await depot.kill(worker)
    depot.start("conductor")
    await depot.settled(2_000)

    assert await depot.counts() == endings(2_000)
    check_ways((await depot.journeys()).values(), range(2_000))
