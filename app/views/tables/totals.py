"""The completed records of one origin in one partition, summed over the blocks of the table `outcomes`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

from msgspec import Struct

from metroline.routing.journeys.settlement import OTHER, OutcomeKey

KINDS_MOST = 1_000
"""Kinds of outcome that are counted separately within a partition."""


class StoredBlock(Struct, frozen=True):
    """An entry of the table `outcomes`, as far as pages read it."""

    counts: list[tuple[str, str, str, int]]
    """Last stop, ending, reason, and the number of records."""
    hops: int
    duplicates: int
    partial: dict[str, tuple[int, str]]
    """Per message of which not all records are completed: how many it holds, and a bitmap of the completed ones."""

    @property
    def by_kind(self) -> Counter[OutcomeKey]:
        return Counter({(stop, ending, reason): count for stop, ending, reason, count in self.counts})


class OutcomeCount(Struct, frozen=True):
    """The number of records with one outcome."""

    stop: str
    """The last stop; empty if there was none."""
    ending: str
    reason: str
    count: int


class OriginTotals(Struct, frozen=True):
    """The totals of one origin in one partition, as pages show them."""

    origin: str
    partition: int
    blocks: int
    settled: int
    hops: int
    duplicates: int
    counts: list[OutcomeCount]


@dataclass(slots=True)
class Totals:
    """Sums over the blocks of one origin in one partition."""

    origin: str
    partition: int
    blocks: int = 0
    hops: int = 0
    duplicates: int = 0
    counts: Counter[OutcomeKey] = field(default_factory=Counter)

    @property
    def is_malformed(self) -> bool:
        """Return whether these are no source records, but malformed messages on internal topics."""
        return not is_source(self.origin)

    @property
    def seen(self) -> int:
        return self.counts.total() + self.duplicates

    def add(self, block: StoredBlock) -> None:
        self.blocks += 1
        self.hops += block.hops
        self.duplicates += block.duplicates
        for (stop, ending, reason), count in block.by_kind.items():
            known = (stop, ending, reason) in self.counts or len(self.counts) < KINDS_MOST
            self.counts[stop, ending, reason if known else OTHER] += count

    def shown(self) -> OriginTotals:
        return OriginTotals(
            self.origin,
            self.partition,
            self.blocks,
            self.counts.total(),
            self.hops,
            self.duplicates,
            largest_first(self.counts),
        )

    @classmethod
    def of_shown(cls, shown: OriginTotals) -> Totals:
        """Return the totals that another worker shows."""
        counts = Counter({(one.stop, one.ending, one.reason): one.count for one in shown.counts})
        return cls(shown.origin, shown.partition, shown.blocks, shown.hops, shown.duplicates, counts)


def is_source(origin: str) -> bool:
    """Return whether an origin is the source, in any of its epochs."""
    return origin.startswith("source")


def total(totals: Iterable[Totals]) -> Counter[OutcomeKey]:
    """Return the sum of the counts."""
    counts: Counter[OutcomeKey] = Counter()
    for one in totals:
        counts.update(one.counts)
    return counts


def largest_first(counts: Counter[OutcomeKey]) -> list[OutcomeCount]:
    ordered = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    return [OutcomeCount(stop, ending, reason, count) for (stop, ending, reason), count in ordered]
