"""The completed records of one origin in one partition, summed over the blocks of the table `outcomes`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

from msgspec import Struct

from metroline.agents.services.schedule import schedule_of
from metroline.routing.journeys.settlement import BLOCK_OFFSETS, OTHER, OutcomeKey

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
    lost: list[tuple[int, int]] = []
    """The first and the last offset within the block of messages that were deleted before they were read."""

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
    bus_hops: int
    """Number of times that these records were written to the bus."""
    duplicates: int
    counts: list[OutcomeCount]
    lost: list[tuple[int, int]] = []
    """The first and the last offset of messages that were deleted before they were read."""


@dataclass(slots=True)
class Totals:
    """Sums over the blocks of one origin in one partition."""

    origin: str
    partition: int
    blocks: int = 0
    hops: int = 0
    duplicates: int = 0
    counts: Counter[OutcomeKey] = field(default_factory=Counter)
    lost: list[tuple[int, int]] = field(default_factory=list)
    """The first and the last offset of messages that were deleted before they were read."""

    @property
    def is_malformed(self) -> bool:
        """Return whether these are no records of the line, but malformed messages on internal topics."""
        return not is_source(self.origin) and schedule_of(self.origin) is None

    @property
    def seen(self) -> int:
        return self.counts.total() + self.duplicates + self.lost_messages

    @property
    def lost_messages(self) -> int:
        """Return the number of messages that were deleted before they were read."""
        return sum(last - first + 1 for first, last in self.lost)

    def add(self, block: StoredBlock, number: int) -> None:
        """Add the block with this number."""
        begin = number * BLOCK_OFFSETS
        self.lost = merged([*self.lost, *((begin + first, begin + last) for first, last in block.lost)])
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
            self.lost,
        )

    @classmethod
    def of_shown(cls, shown: OriginTotals) -> Totals:
        """Return the totals that another worker shows."""
        counts = Counter({(one.stop, one.ending, one.reason): one.count for one in shown.counts})
        return cls(
            shown.origin, shown.partition, shown.blocks, shown.bus_hops, shown.duplicates, counts, list(shown.lost)
        )


def merged(ranges: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
    """Return ranges of offsets in order; those that touch become one."""
    joined: list[tuple[int, int]] = []
    for first, last in sorted(ranges):
        if joined and joined[-1][1] + 1 >= first:
            joined[-1] = (joined[-1][0], max(joined[-1][1], last))
        else:
            joined.append((first, last))
    return joined


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
