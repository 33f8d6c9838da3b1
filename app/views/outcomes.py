"""The table `outcomes` as data: counts by last stop, ending and reason, summed over blocks and partitions."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from agents.tables import LineTable
from app.views.spreading import spread
from routing.outcome import Ending
from routing.settlement import BLOCK, OTHER, Kind

LISTED = 100
"""Blocks that are listed, the newest ones."""

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
    counts: Counter[Kind] = field(default_factory=Counter)

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
            "counts": _rows(self.counts),
        }

    @classmethod
    def of_json(cls, data: dict[str, Any]) -> Sums:
        """Raises LookupError or TypeError for what is none."""
        counts = Counter({(row["stop"], row["ending"], row["reason"]): int(row["count"]) for row in data["counts"]})
        whole = {name: int(data[name]) for name in ("partition", "blocks", "hops", "duplicates")}
        return cls(origin=str(data["origin"]), counts=counts, **whole)


async def read(table: LineTable, partitions: frozenset[int]) -> dict[str, Any]:
    """The page's data from the entries of these partitions."""
    sums: dict[tuple[str, int], Sums] = {}
    blocks = []
    async for key, value in spread(table.entries(partitions)):
        partition, origin, _ = place_of(key)
        sums.setdefault((origin, partition), Sums(origin, partition)).add(value)
        blocks.append({"key": key, "settled": settled(value), "duplicates": value["duplicates"]})
    return _page(sums.values(), blocks)


def merge(pages: Iterable[dict[str, Any]]) -> dict[str, Any]:
    """One page of several; where two tell of one partition, as they may while it changes hands, the fuller one counts."""
    sums: dict[tuple[str, int], Sums] = {}
    blocks: dict[str, dict[str, Any]] = {}
    for page in pages:
        for one in map(Sums.of_json, page["origins"]):
            known = sums.setdefault((one.origin, one.partition), one)
            if one.seen > known.seen:
                sums[one.origin, one.partition] = one
        for block in page["blocks"]:
            known_block = blocks.setdefault(block["key"], block)
            if block["settled"] > known_block["settled"]:
                blocks[block["key"]] = block
    return _page(sums.values(), list(blocks.values()))


def place_of(key: str) -> tuple[int, str, int]:
    """The partition, the origin and the block's number in a key."""
    partition, _, rest = key.partition("/")
    origin, _, block = rest.rpartition("/")
    return int(partition), origin, int(block)


def settled(block: dict[str, Any]) -> int:
    """How many records of a block have their outcome."""
    return sum(count for *_, count in block["counts"])


def explain(key: str, block: dict[str, Any]) -> dict[str, Any]:
    """What a single entry says, beside the entry itself."""
    first = place_of(key)[2] * BLOCK
    return {"offsets": [first, first + BLOCK - 1], "settled": settled(block), "messages_in_part": len(block["partial"])}


def _page(sums: Iterable[Sums], blocks: list[dict[str, Any]]) -> dict[str, Any]:
    ordered = sorted(sums, key=lambda one: (one.is_stray, one.origin, one.partition))
    records = [one for one in ordered if not one.is_stray]
    strays = [one for one in ordered if one.is_stray]
    counts = _total(records)
    blocks.sort(key=lambda block: _newest_first(block["key"]))
    return {
        "totals": {ending.value: sum(n for kind, n in counts.items() if kind[1] == ending) for ending in Ending},
        "settled": counts.total(),
        "duplicates": sum(one.duplicates for one in records),
        "hops": sum(one.hops for one in records),
        "counts": _rows(counts),
        "strays": {
            "total": _total(strays).total(),
            "duplicates": sum(one.duplicates for one in strays),
            "counts": [{"origin": one.origin} | row for one in strays for row in _rows(one.counts)],
        },
        "origins": [one.as_json() for one in ordered],
        "blocks": blocks[:LISTED],
    }


def _total(sums: Iterable[Sums]) -> Counter[Kind]:
    total: Counter[Kind] = Counter()
    for one in sums:
        total.update(one.counts)
    return total


def _newest_first(key: str) -> tuple[bool, int, str, int]:
    partition, origin, block = place_of(key)
    return (not origin.startswith("source"), -block, origin, partition)


def _rows(counts: Counter[Kind]) -> list[dict[str, Any]]:
    ordered = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    return [{"stop": kind[0], "ending": kind[1], "reason": kind[2], "count": count} for kind, count in ordered]
