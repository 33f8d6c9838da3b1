"""Reads from the bus what became of each record of a run: its stops, its outcome and its final content."""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import NamedTuple

import orjson
from msgspec.structs import replace

from metroline.agents.kafka.cluster import Cluster
from metroline.agents.kafka.topic_reader import read_topic
from metroline.agents.kafka.topics import Topics
from metroline.app.compare.comparison import Route
from metroline.app.compare.results_file import ResultsFile
from metroline.app.inputs.source_loader import Sent
from metroline.app.operations.letter import Letter
from metroline.routing.addresses import ARRIVALS
from metroline.routing.errors import MetrolineError
from metroline.routing.messages.envelope import Envelope
from metroline.routing.messages.record_ids import RecordId, id_text
from metroline.routing.messages.segment import Segment
from metroline.routing.outcome import Ending, Outcome
from metroline.routing.records.fingerprints import canonical


class RecordOutcome(NamedTuple):
    """The stops that a record visited, the ending of its journey, and the reason."""

    route: Route
    ending: Ending
    reason: str | None
    cause: tuple[str, ...] = ()
    """The cause of a dead letter, by which dead letters are grouped."""

    @classmethod
    def of(cls, envelope: Envelope, segment: Segment, outcome: Outcome) -> RecordOutcome:
        """Return the outcome of the records in a segment of an envelope."""
        cause: tuple[str, ...] = ()
        if outcome.ending is Ending.DEAD:
            cause = Letter(replace(envelope, segments=(segment,)), 0.0).cause
        return cls(segment.stops, outcome.ending, outcome.reason, cause)

    @property
    def meaning(self) -> tuple[object, ...]:
        """The outcome without what differs from run to run, such as numbers of bytes in the reason of a dead letter."""
        return (self.route, self.ending, self.cause or self.reason)


@dataclass(slots=True)
class Evidence:
    """The outcome of each record, by its index in the input, and a digest of its final content."""

    count: int
    outcomes: list[RecordOutcome | None] = field(init=False)
    contents: array[int] = field(init=False)
    _known: dict[RecordOutcome, RecordOutcome] = field(default_factory=dict)
    """One object for all equal outcomes: a run has millions of records and few outcomes."""

    def __post_init__(self) -> None:
        self.outcomes = [None] * self.count
        self.contents = array("Q", bytes(8 * self.count))

    def add(self, index: int, outcome: RecordOutcome, line: bytes) -> bool:
        """Take the first outcome of a record; return False for a repeated one, which does not count."""
        if self.outcomes[index] is not None:
            return False
        self.outcomes[index] = self._known.setdefault(outcome, outcome)
        digest = blake2b(canonical(orjson.loads(line)), digest_size=8).digest()
        self.contents[index] = int.from_bytes(digest, "big")
        return True

    def differs(self, index: int, other: Evidence) -> bool:
        """Return whether a record has another outcome or another final content than in another run."""
        return self.contents[index] != other.contents[index] or not self.has_same_outcome(index, other)

    def has_same_outcome(self, index: int, other: Evidence) -> bool:
        """Return whether a record has the outcome that it has in another run, as a user means it."""
        own, theirs = self.outcomes[index], other.outcomes[index]
        return own == theirs or (own is not None and theirs is not None and own.meaning == theirs.meaning)

    def endings(self) -> Counter[Ending]:
        return Counter(outcome.ending for outcome in self.outcomes if outcome is not None)

    def routes(self) -> dict[Route, Counter[Ending]]:
        """Return the number of records by route and ending, the most travelled route first."""
        counts = Counter(outcome for outcome in self.outcomes if outcome is not None)
        found: dict[Route, Counter[Ending]] = {}
        for outcome, count in counts.most_common():
            found.setdefault(outcome.route, Counter())[outcome.ending] += count
        return found

    def ends(self) -> dict[str, int]:
        """Return the number of delivered records by the name of their end, without those of the default end."""
        delivered = (one for one in self.outcomes if one is not None and one.ending is Ending.DELIVERED)
        return dict(Counter(one.reason for one in delivered if one.reason is not None))


Take = Callable[[int, bytes, Evidence], None]
"""Called with the index of each record and with its final content, when its outcome was added to the evidence."""


async def read_outcomes(
    cluster: Cluster, topics: Topics, sent: Sent, take: Take, results: ResultsFile | None = None
) -> Evidence:
    """Read what came to the arrivals. The first outcome of a record counts, as it does there."""
    evidence = Evidence(sent.records)
    async for message in read_topic(cluster, topics.at(ARRIVALS)):
        envelope = Envelope.decode(message.value)
        if not envelope.origin.name.startswith("source"):
            continue
        for segment in envelope.segments:
            if segment.outcome is None:
                raise MetrolineError("an envelope without an outcome came to the arrivals")
            outcome = RecordOutcome.of(envelope, segment, segment.outcome)
            for place, record in enumerate(segment.ids):
                index = sent.index(envelope.origin.partition, record)
                if not evidence.add(index, outcome, segment.lines[place]):
                    continue
                take(index, segment.lines[place], evidence)
                if results is not None:
                    results.add(index, segment, place, id_text(envelope.origin, record))
    return evidence


async def read_delivery_times(cluster: Cluster, topics: Topics) -> dict[tuple[int, RecordId], float]:
    """Return when each record was first written to the delivered topic, in seconds since the epoch.

    Records are named by the partition of the source and their id.
    """
    written: dict[tuple[int, RecordId], float] = {}
    async for message in read_topic(cluster, topics.delivered):
        envelope = Envelope.decode(message.value)
        for segment in envelope.segments:
            for record in segment.ids:
                written.setdefault((envelope.origin.partition, record), message.timestamp / 1000)
    return written
