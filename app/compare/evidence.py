"""What really happened in a run, read from the bus itself: every record's stops, outcome and final content."""

from __future__ import annotations

import mmap
from array import array
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from hashlib import blake2b
from pathlib import Path
from types import TracebackType
from typing import IO, Self

import orjson
from aiokafka import TopicPartition
from aiokafka.structs import ConsumerRecord

from metroline.agents.kafka.cluster import Cluster
from metroline.agents.kafka.topics import Topics
from metroline.agents.tables.line_table import epoch_of
from metroline.app.compare.comparison import Route
from metroline.app.inputs.source_loader import Sent
from metroline.routing.addresses import ARRIVALS
from metroline.routing.errors import MetrolineError
from metroline.routing.journeys.settlement import SettledBlock
from metroline.routing.messages.envelope import Envelope
from metroline.routing.messages.record_ids import RecordId, id_text
from metroline.routing.messages.segment import Segment
from metroline.routing.outcome import Ending, Outcome
from metroline.routing.records.fingerprints import canonical

Way = tuple[Route, Ending, str | None]
"""The stops of a record, how its journey ended, and the reason."""


@dataclass(slots=True)
class Evidence:
    """Per record of the input, by its index: its way and a digest of its final content."""

    count: int
    ways: list[Way | None] = field(init=False)
    contents: array[int] = field(init=False)
    _known: dict[Way, Way] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.ways = [None] * self.count
        self.contents = array("Q", bytes(8 * self.count))

    def add(self, index: int, way: Way, line: bytes) -> bool:
        """Takes the first outcome of a record; False for one that came again."""
        if self.ways[index] is not None:
            return False
        self.ways[index] = self._known.setdefault(way, way)
        digest = blake2b(canonical(orjson.loads(line)), digest_size=8).digest()
        self.contents[index] = int.from_bytes(digest, "big")
        return True

    def endings(self) -> Counter[Ending]:
        return Counter(way[1] for way in self.ways if way is not None)

    def routes(self) -> dict[Route, Counter[Ending]]:
        """Counts by route, the most travelled first."""
        counts = Counter(way for way in self.ways if way is not None)
        found: dict[Route, Counter[Ending]] = {}
        for (route, ending, _), count in counts.most_common():
            found.setdefault(route, Counter())[ending] += count
        return found


class ResultsFile:
    """`{strategy}.jsonl`: a line a record, in the order of the input."""

    def __init__(self, file: Path, count: int) -> None:
        self._file = file
        self._scratch = file.with_suffix(".unsorted")
        self._places = array("Q", bytes(8 * count))
        self._output: IO[bytes] = self._scratch.open("wb")

    def add(self, index: int, segment: Segment, place: int, origin_id: str) -> None:
        outcome = segment.outcome or Outcome(Ending.DEAD)
        line = orjson.dumps(
            {
                "id": origin_id,
                "index": index,
                "stops": segment.stops,
                "outcome": outcome.ending,
                "reason": outcome.reason,
                "record": orjson.Fragment(segment.lines[place]),
            }
        )
        self._places[index] = self._output.tell() + 1
        self._output.write(line + b"\n")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._output.close()
        if self._scratch.stat().st_size:
            self._sort()
        self._scratch.unlink()

    def _sort(self) -> None:
        with (
            self._scratch.open("rb") as unsorted,
            self._file.open("wb") as output,
            mmap.mmap(unsorted.fileno(), 0, access=mmap.ACCESS_READ) as lines,
        ):
            for place in self._places:
                if place:
                    output.write(lines[place - 1 : lines.find(b"\n", place - 1) + 1])


async def read_topic(cluster: Cluster, topic: str) -> AsyncIterator[ConsumerRecord]:
    """Every message of a topic, from its beginning to its end as it is now."""
    count = (await cluster.partitions([topic])).get(topic, 0)
    partitions = [TopicPartition(topic, number) for number in range(count)]
    if not partitions:  # there is no such topic yet
        return
    ends = await cluster.high_watermarks(partitions)
    async with cluster.consuming(fetch_max_wait_ms=10, max_partition_fetch_bytes=8 * 1024 * 1024) as consumer:
        consumer.assign(partitions)
        await consumer.seek_to_beginning(*partitions)
        for partition in partitions:
            while await consumer.position(partition) < ends[partition]:
                for messages in (await consumer.getmany(partition, timeout_ms=1_000)).values():
                    for message in messages:
                        yield message


async def read_outcomes(cluster: Cluster, topics: Topics, sent: Sent, results: ResultsFile | None = None) -> Evidence:
    """Reads what came to the arrivals; the first outcome of a record counts, as it does there."""
    evidence = Evidence(sent.records)
    async for message in read_topic(cluster, topics.at(ARRIVALS)):
        envelope = Envelope.decode(message.value)
        if not envelope.origin.name.startswith("source"):
            continue
        for segment in envelope.segments:
            if segment.outcome is None:
                raise MetrolineError("an envelope without an outcome came to the arrivals")
            way = (segment.stops, segment.outcome.ending, segment.outcome.reason)
            for place, record in enumerate(segment.ids):
                index = sent.index(envelope.origin.partition, record)
                if evidence.add(index, way, segment.lines[place]) and results is not None:
                    results.add(index, segment, place, id_text(envelope.origin, record))
    return evidence


@dataclass(slots=True)
class Settled:
    """What the arrivals counted, from the last value of each entry of their table."""

    endings: Counter[Ending] = field(default_factory=Counter)
    hops: int = 0
    duplicates: int = 0


async def read_settled(cluster: Cluster, topics: Topics) -> Settled:
    """Reads the table `outcomes` from its changelog."""
    settled = Settled()
    for block in (await read_blocks(cluster, topics)).values():
        for (_, ending, _), count in block.counts.items():
            settled.endings[Ending(ending)] += count
        settled.hops += block.hops
        settled.duplicates += block.duplicates
    return settled


async def read_blocks(cluster: Cluster, topics: Topics) -> dict[tuple[int, str, int], SettledBlock]:
    """What is settled of the source, by partition, the source's epoch and block: the last value of each entry."""
    latest = await read_outcomes_table(cluster, topics)
    keys = {key: key.decode().split("/") for key in latest}
    return {
        (int(partition), origin, int(number)): SettledBlock.decode(orjson.loads(latest[key]))
        for key, (partition, origin, number) in keys.items()
        if origin.startswith("source")
    }


async def read_outcomes_table(cluster: Cluster, topics: Topics) -> dict[bytes, bytes]:
    """The entries of the table `outcomes`, from its changelog."""
    latest: dict[bytes, bytes] = {}
    async for message in read_topic(cluster, topics.changelog("outcomes")):
        if epoch_of(message.value) >= epoch_of(latest.get(message.key)):
            latest[message.key] = message.value
    return latest


async def read_delivered(
    cluster: Cluster, topics: Topics
) -> tuple[Counter[tuple[int, RecordId]], dict[tuple[int, RecordId], float]]:
    """How often each record stands in the delivered topic, and when it was first written there, in epoch seconds."""
    counts: Counter[tuple[int, RecordId]] = Counter()
    written: dict[tuple[int, RecordId], float] = {}
    async for message in read_topic(cluster, topics.delivered):
        envelope = Envelope.decode(message.value)
        for segment in envelope.segments:
            for record in segment.ids:
                key = (envelope.origin.partition, record)
                counts[key] += 1
                written.setdefault(key, message.timestamp / 1000)
    return counts, written
