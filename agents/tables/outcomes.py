"""Reads the table `outcomes` from its changelog: the settled records of a line and their counts."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

import orjson

from metroline.agents.kafka.cluster import Cluster
from metroline.agents.kafka.topic_reader import read_topic
from metroline.agents.kafka.topics import Topics
from metroline.agents.tables.entries import epoch_of, owned_entry
from metroline.routing.errors import MetrolineError
from metroline.routing.journeys.block_checks import check_block
from metroline.routing.journeys.settlement import SettledBlock
from metroline.routing.outcome import Ending


@dataclass(slots=True)
class Settled:
    """The source records that the arrivals settled: counts by ending, hops in all, and outcomes that came twice."""

    endings: Counter[Ending] = field(default_factory=Counter)
    hops: int = 0
    duplicates: int = 0


async def read_settled(cluster: Cluster, topics: Topics) -> Settled:
    """Return the sums over all blocks of the source's records."""
    settled = Settled()
    for block in (await read_blocks(cluster, topics)).values():
        for (_, ending, _), count in block.counts.items():
            settled.endings[Ending(ending)] += count
        settled.hops += block.hops
        settled.duplicates += block.duplicates
    return settled


async def read_blocks(cluster: Cluster, topics: Topics) -> dict[tuple[int, str, int], SettledBlock]:
    """Return the blocks of the source's records by partition, origin (the source and its epoch) and block number."""
    latest = await read_outcomes_table(cluster, topics)
    keys = {key: key.decode().split("/") for key in latest}
    return {
        (int(partition), origin, int(number)): SettledBlock.decode(orjson.loads(latest[key]))
        for key, (partition, origin, number) in keys.items()
        if origin.startswith("source")
    }


async def read_outcomes_table(cluster: Cluster, topics: Topics) -> dict[bytes, bytes]:
    """Return the current entry of each key: the last one that an owner of the highest epoch wrote."""
    latest: dict[bytes, bytes] = {}
    async for message in read_topic(cluster, topics.changelog("outcomes")):
        try:
            epoch, value = owned_entry(message.key, message.value, message.partition)
            check_block(message.key.decode(), value)
        except MetrolineError:  # the workers count and log it
            continue
        if epoch >= epoch_of(latest.get(message.key)):
            latest[message.key] = message.value
    return latest
