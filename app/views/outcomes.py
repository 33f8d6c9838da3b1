"""The table `outcomes` as data: counts by last stop, ending and reason, summed over blocks and partitions."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Any

from agents.tables import LineTable
from app.views.spreading import spread
from app.views.sums import Sums, rows
from routing.outcome import Ending
from routing.settlement import BLOCK, Kind

LISTED = 100
"""Blocks that are listed, the newest ones."""


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
        "counts": rows(counts),
        "strays": {
            "total": _total(strays).total(),
            "duplicates": sum(one.duplicates for one in strays),
            "counts": [{"origin": one.origin} | row for one in strays for row in rows(one.counts)],
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
