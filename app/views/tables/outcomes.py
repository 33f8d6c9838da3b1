"""The table `outcomes` as data: counts by last stop, ending and reason, summed over blocks and partitions."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Any
from urllib.parse import quote

from metroline.agents.tables.line_table import LineTable
from metroline.app.markup.html import Markup, grid, number, tag
from metroline.app.markup.numbers import percent
from metroline.app.views.tables.cooperative import spread
from metroline.app.views.tables.totals import Sums, rows
from metroline.routing.journeys.settlement import BLOCK_OFFSETS, OutcomeKey
from metroline.routing.outcome import Ending

LISTED = 100
"""Blocks that are listed, the newest ones."""


async def read(table: LineTable, partitions: frozenset[int]) -> dict[str, Any]:
    """The page's data from the entries of these partitions."""
    sums: dict[tuple[str, int], Sums] = {}
    blocks = []
    async for key, value in spread(table.entries(partitions)):
        partition, origin, _ = place_of(key)
        sums.setdefault((origin, partition), Sums(origin, partition)).add(value)
        settled = sum(count for *_, count in value["counts"])
        blocks.append({"key": key, "settled": settled, "duplicates": value["duplicates"]})
    return _page(sums.values(), blocks)


def merge(pages: Iterable[dict[str, Any]]) -> dict[str, Any]:
    """One page of several; where two tell of one partition, as while it changes hands, the fuller one counts."""
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


def explain(key: str, block: dict[str, Any]) -> dict[str, Any]:
    """What a single entry says, beside the entry itself."""
    first = place_of(key)[2] * BLOCK_OFFSETS
    counts = Counter({(stop, ending, reason): count for stop, ending, reason, count in block["counts"]})
    return {
        "offsets": [first, first + BLOCK_OFFSETS - 1],
        "settled": counts.total(),
        "messages_in_part": len(block["partial"]),
        "counts": rows(counts),
    }


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


def _total(sums: Iterable[Sums]) -> Counter[OutcomeKey]:
    total: Counter[OutcomeKey] = Counter()
    for one in sums:
        total.update(one.counts)
    return total


def _newest_first(key: str) -> tuple[bool, int, str, int]:
    partition, origin, block = place_of(key)
    return (not origin.startswith("source"), -block, origin, partition)


def show(page: dict[str, Any]) -> Markup:
    """As HTML: the totals, the counts with their shares, the blocks."""
    cards = page["totals"] | {name: page[name] for name in ("duplicates", "hops")}
    parts = [tag("dl", [tag("div", tag("dt", name), tag("dd", f"{n:,}"), class_=name) for name, n in cards.items()])]
    parts.append(_counts(page["counts"], page["settled"]))
    strays = page["strays"]["counts"]
    if strays:
        parts.append(tag("h2", "Strays"))
        parts.append(tag("p", "Messages on inner topics that were no envelopes, so no source records: counted apart."))
        found = [[row["origin"].removeprefix("stray:"), row["reason"], number(row["count"])] for row in strays]
        parts.append(grid(["Found on", "Reason", "Messages#"], found))
    parts.append(tag("h2", "Blocks"))
    parts.append(
        tag("p", f"What is settled is kept in blocks of {BLOCK_OFFSETS:,} offsets; the newest {LISTED} of them:")
    )
    parts.append(grid(["Partition / origin / block", "Settled#", "Duplicates#"], map(_block, page["blocks"])))
    return Markup("".join(parts))


def show_entry(entry: dict[str, Any]) -> Markup:
    """A block as HTML."""
    first, last = entry["offsets"]
    told = f"Offsets {first:,} to {last:,}: {entry['settled']:,} records have their outcome"
    part = f", and {entry['messages_in_part']:,} messages are settled in part" if entry["messages_in_part"] else ""
    return Markup(tag("p", told, part, ".") + _counts(entry["counts"], entry["settled"]))


def _block(block: dict[str, Any]) -> list[Markup]:
    link = tag("a", block["key"], href=f"/table/outcomes/{quote(block['key'])}/")
    return [link, number(block["settled"]), number(block["duplicates"])]


def _counts(counts: list[dict[str, Any]], total: int) -> Markup:
    cells = []
    for row in counts:
        share = 100 * row["count"] / max(total, 1)
        bar = tag("span", class_=f"bar {row['ending']}", style=f"width:{share:.2f}%")
        ending = tag("b", row["ending"], class_=f"ending {row['ending']}")
        figures = [number(row["count"]), number(percent(row["count"], total)), bar]
        cells.append([row["stop"], ending, row["reason"], *figures])
    return grid(["Last stop", "Ending", "Reason", "Records#", "Share#", ""], cells, class_="counts")
