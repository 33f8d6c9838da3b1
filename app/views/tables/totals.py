"""What was settled in one partition, summed over its blocks."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from metroline.routing.journeys.settlement import OTHER, OutcomeKey

MOST_KINDS = 1_000
"""Kinds of outcome that are told apart within a partition."""


@dataclass(slots=True)
class Sums:
    """What was settled of one origin in one partition."""

    origin: str
    partition: int
    blocks: int = 0
    hops: int = 0
    duplicates: int = 0
    counts: Counter[OutcomeKey] = field(default_factory=Counter)

    @property
    def is_stray(self) -> bool:
        """Whether these are no source records, but messages on inner topics that were no envelopes."""
        return not self.origin.startswith("source")

    @property
    def seen(self) -> int:
        return self.counts.total() + self.duplicates

    def add(self, block: dict[str, Any]) -> None:
        """Takes the counts of one block, as the table has it."""
        self.blocks += 1
        self.hops += block["hops"]
        self.duplicates += block["duplicates"]
        for stop, ending, reason, count in block["counts"]:
            known = (stop, ending, reason) in self.counts or len(self.counts) < MOST_KINDS
            self.counts[stop, ending, reason if known else OTHER] += count

    def as_json(self) -> dict[str, Any]:
        return {
            "origin": self.origin,
            "partition": self.partition,
            "blocks": self.blocks,
            "settled": self.counts.total(),
            "hops": self.hops,
            "duplicates": self.duplicates,
            "counts": rows(self.counts),
        }

    @classmethod
    def of_json(cls, data: dict[str, Any]) -> Sums:
        """Raises LookupError or TypeError for what is none."""
        counts = Counter({(row["stop"], row["ending"], row["reason"]): int(row["count"]) for row in data["counts"]})
        whole = {name: int(data[name]) for name in ("partition", "blocks", "hops", "duplicates")}
        return cls(origin=str(data["origin"]), counts=counts, **whole)


def rows(counts: Counter[OutcomeKey]) -> list[dict[str, Any]]:
    """Counts by last stop, ending and reason, the largest first."""
    ordered = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    return [{"stop": kind[0], "ending": kind[1], "reason": kind[2], "count": count} for kind, count in ordered]
