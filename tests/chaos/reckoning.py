"""The result for every record, read from the source, the counts, the delivered records and the dead letters."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

import orjson

from metroline.agents.kafka.cluster import Cluster
from metroline.agents.kafka.topic_reader import read_topic
from metroline.agents.kafka.topics import Topics
from metroline.agents.tables.outcomes import read_blocks
from metroline.routing.journeys.settlement import BLOCK_OFFSETS
from metroline.routing.messages.record_ids import RecordId, id_of
from metroline.routing.outcome import Ending
from tests.chaos.pushing import expected
from tests.support.delivered import dead_letter_in, delivered_ids

Id = tuple[int, int, int]
"""Source partition, offset, and the record's index in its message."""


@dataclass
class Reckoning:
    """The state of the bus at the end of a run."""

    expected: dict[Id, Ending] = field(default_factory=dict)
    """Expected outcomes of the records in the source topic."""
    numbers: Counter[int] = field(default_factory=Counter)
    counts: Counter[Ending] = field(default_factory=Counter)
    settled: set[Id] = field(default_factory=set)
    """Records that the arrivals have noted as settled."""
    duplicates: int = 0
    """Number of outcomes that arrived for records that were already settled."""
    delivered: Counter[Id] = field(default_factory=Counter)
    """Number of times that each record is in the delivered topic."""
    dead: Counter[Id] = field(default_factory=Counter)

    @property
    def repeated(self) -> int:
        """Return the number of repeated writes to the delivered topic and to the dead letters."""
        return sum((self.delivered + self.dead).values()) - len(self.delivered) - len(self.dead)

    def wrong(self) -> list[str]:
        """Return a description of each inconsistency."""
        sent = set(self.expected)
        should = Counter(self.expected.values())
        found = [
            _differ("the settled records are not those that were sent", self.settled, sent),
            _differ("delivered", set(self.delivered), self._of(Ending.DELIVERED)),
            _differ("dead letters", set(self.dead), self._of(Ending.DEAD)),
        ]
        if self.counts != should:
            found.append(f"the counts are {dict(self.counts)}, not {dict(should)}")
        return [text for text in found if text]

    def _of(self, ending: Ending) -> set[Id]:
        return {record for record, wanted in self.expected.items() if wanted is ending}

    def __str__(self) -> str:
        again = sum(self.numbers.values()) - len(self.numbers)
        return (
            f"{len(self.expected)} records sent ({again} of them twice, by the pusher): "
            f"{', '.join(f'{self.counts[ending]} {ending}' for ending in Ending)}; "
            f"{self.duplicates} duplicate outcomes; {self.repeated} records written again after they were"
        )


def _differ(what: str, found: set[Id], wanted: set[Id]) -> str:
    if found == wanted:
        return ""
    return f"{what}: {_some(wanted - found)} are missing, {_some(found - wanted)} are too many"


def _some(records: set[Id]) -> str:
    return f"{len(records)} {sorted(records)[:10]}" if records else "none"


def _id(partition: int, record: RecordId) -> Id:
    offset, index = (record, 0) if isinstance(record, int) else record[:2]
    return partition, offset, index


async def reckon(cluster: Cluster, topics: Topics) -> Reckoning:
    """Read the source, the counts, the delivered records and the dead letters."""
    found = Reckoning()
    await _read_source(cluster, topics, found)
    await _read_counts(cluster, topics, found)
    found.delivered = await _delivered(cluster, topics.delivered)
    found.dead = await _standing(cluster, topics.dead_letters)
    return found


async def count_source(cluster: Cluster, topics: Topics) -> int:
    """Return the number of records in the source topic."""
    return sum([message.value.count(b"\n") + 1 async for message in read_topic(cluster, topics.source)])


async def _read_source(cluster: Cluster, topics: Topics, found: Reckoning) -> None:
    async for message in read_topic(cluster, topics.source):
        for index, line in enumerate(message.value.split(b"\n")):
            number = orjson.loads(line)["n"]
            found.numbers[number] += 1
            found.expected[message.partition, message.offset, index] = expected(number)


async def _read_counts(cluster: Cluster, topics: Topics, found: Reckoning) -> None:
    lines = Counter((partition, offset) for partition, offset, _ in found.expected)
    for (partition, _, number), block in (await read_blocks(cluster, topics)).items():
        first = number * BLOCK_OFFSETS
        for offset in (first + place for place in block.whole):
            found.settled |= {(partition, offset, index) for index in range(lines[partition, offset])}
        for place, (_, indexes) in block.partial.items():
            found.settled |= {(partition, first + place, index) for index in indexes}
        for (_, ending, _), count in block.counts.items():
            found.counts[Ending(ending)] += count
        found.duplicates += block.duplicates


async def _delivered(cluster: Cluster, topic: str) -> Counter[Id]:
    """Return the number of times that each record is in the delivered topic."""
    return Counter([_id_of(name) async for name in delivered_ids(cluster, topic)])


def _id_of(name: str) -> Id:
    origin, offset, index = id_of(name)
    assert origin.name == "source", f"something strayed: {name}"
    return origin.partition, offset, index or 0


async def _standing(cluster: Cluster, topic: str) -> Counter[Id]:
    """Return the number of times that each record is in a topic of dead letters."""
    found: Counter[Id] = Counter()
    async for message in read_topic(cluster, topic):
        envelope = dead_letter_in(message)
        assert envelope.origin.name == "source", f"something strayed: {message.value[:1_000]!r}"
        for segment in envelope.segments:
            found.update(_id(envelope.origin.partition, record) for record in segment.ids)
    return found
