"""The page of the table `outcomes`: completed records by last stop, outcome and reason, over all partitions."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from urllib.parse import quote

from msgspec import Struct

from metroline.agents.services.schedule import schedule_of
from metroline.agents.tables.line_table import LineTable
from metroline.app.markup.html import Markup, grid, number, tag
from metroline.app.markup.numbers import count, percent
from metroline.app.views.tables.cooperative import entries_of
from metroline.app.views.tables.totals import (
    OriginTotals,
    OutcomeCount,
    StoredBlock,
    Totals,
    is_source,
    largest_first,
    total,
)
from metroline.routing.journeys.dead_letters import MALFORMED_ORIGIN
from metroline.routing.journeys.settlement import BLOCK_OFFSETS
from metroline.routing.outcome import Ending

LISTED = 100
"""Blocks that are listed, the newest ones."""


class ListedBlock(Struct, frozen=True):
    """A block in the list of a page, by its key."""

    key: str
    settled: int
    duplicates: int


class MalformedCount(Struct, frozen=True):
    """The number of malformed messages with one outcome on one internal topic."""

    origin: str
    stop: str
    ending: str
    reason: str
    count: int


class MalformedMessages(Struct, frozen=True):
    """Messages on internal topics that were not envelopes."""

    total: int
    duplicates: int
    counts: list[MalformedCount]


class LostMessages(Struct, frozen=True):
    """Messages of one partition that were deleted before they were read. Nobody knows how many records they held."""

    origin: str
    """The origin of the records of the source, or `lost:` and the address of an internal topic."""
    partition: int
    first: int
    """Offset of the first one."""
    last: int


class OutcomesContent(Struct, frozen=True):
    """The content of the page, of one worker or merged from several.

    Sums are of the records of the source and of schedules.
    """

    totals: dict[Ending, int]
    settled: int
    lost: int
    """Source messages that were deleted before they were read."""
    losses: list[LostMessages]
    """Those messages, and those of internal topics, by partition and offsets."""
    duplicates: int
    bus_hops: int
    """Number of times that the settled records were written to the bus."""
    counts: list[OutcomeCount]
    strays: MalformedMessages
    origins: list[OriginTotals]
    blocks: list[ListedBlock]
    scheduled: dict[str, int] = {}
    """Those of the settled records that schedules let enter, by the name of the schedule."""


class BlockEntry(Struct, frozen=True):
    """One block in full, without its bitmaps."""

    offsets: tuple[int, int]
    """The first and the last one."""
    settled: int
    messages_in_part: int
    counts: list[OutcomeCount]


async def read(table: LineTable, partitions: frozenset[int]) -> OutcomesContent:
    """Return the content from the entries of these partitions."""
    totals: dict[tuple[str, int], Totals] = {}
    blocks = []
    async for key, block in entries_of(table, partitions, StoredBlock):
        try:
            partition, origin, number = parse_key(key)
        except ValueError:
            continue  # no worker of this line wrote it
        totals.setdefault((origin, partition), Totals(origin, partition)).add(block, number)
        blocks.append(ListedBlock(key, block.by_kind.total(), block.duplicates))
    return _content(totals.values(), blocks)


def merge(parts: Iterable[OutcomesContent]) -> OutcomesContent:
    """Merge the content of several workers.

    While a partition changes hands, two workers may report it; then the one that has seen more outcomes counts.
    """
    totals: dict[tuple[str, int], Totals] = {}
    blocks: dict[str, ListedBlock] = {}
    for part in parts:
        for one in map(Totals.of_shown, part.origins):
            known = totals.setdefault((one.origin, one.partition), one)
            if one.seen > known.seen:
                totals[one.origin, one.partition] = one
        for block in part.blocks:
            known_block = blocks.setdefault(block.key, block)
            if block.settled > known_block.settled:
                blocks[block.key] = block
    return _content(totals.values(), list(blocks.values()))


def parse_key(key: str) -> tuple[int, str, int]:
    """Return the partition, the origin and the number of a block; raise ValueError for what is no key."""
    partition, _, rest = key.partition("/")
    origin, _, block = rest.rpartition("/")
    return int(partition), origin, int(block)


def explain(key: str, block: StoredBlock) -> BlockEntry:
    """Return what a page says about a single block."""
    first = parse_key(key)[2] * BLOCK_OFFSETS
    counts = block.by_kind
    return BlockEntry((first, first + BLOCK_OFFSETS - 1), counts.total(), len(block.partial), largest_first(counts))


def _content(totals: Iterable[Totals], blocks: list[ListedBlock]) -> OutcomesContent:
    ordered = sorted(totals, key=lambda one: (one.is_malformed, one.origin, one.partition))
    records = [one for one in ordered if not one.is_malformed]
    counts = total(records)
    scheduled: Counter[str] = Counter()
    for one in records:
        if (schedule := schedule_of(one.origin)) is not None:
            scheduled[schedule] += one.counts.total()
    return OutcomesContent(
        totals={ending: sum(n for kind, n in counts.items() if kind[1] == ending) for ending in Ending},
        settled=counts.total(),
        lost=sum(one.lost_messages for one in records),
        losses=[LostMessages(one.origin, one.partition, *offsets) for one in ordered for offsets in one.lost],
        duplicates=sum(one.duplicates for one in records),
        bus_hops=sum(one.hops for one in records),
        counts=largest_first(counts),
        strays=_malformed([one for one in ordered if one.is_malformed]),
        origins=[one.shown() for one in ordered],
        blocks=sorted(blocks, key=_newest_first)[:LISTED],
        scheduled=dict(scheduled),
    )


def _malformed(totals: list[Totals]) -> MalformedMessages:
    counts = [
        MalformedCount(one.origin, row.stop, row.ending, row.reason, row.count)
        for one in totals
        for row in largest_first(one.counts)
    ]
    return MalformedMessages(total(totals).total(), sum(one.duplicates for one in totals), counts)


def _newest_first(block: ListedBlock) -> tuple[bool, int, str, int]:
    partition, origin, number_ = parse_key(block.key)
    return (not is_source(origin), -number_, origin, partition)


def show(content: OutcomesContent) -> Markup:
    """Return the totals, the counts with their shares, and the blocks as HTML."""
    cards = {ending.value: n for ending, n in content.totals.items()}
    cards |= {"lost": content.lost} if content.lost else {}
    cards |= {"duplicates": content.duplicates, "hops on the bus": content.bus_hops}
    return Markup(
        tag("dl", [tag("div", tag("dt", name), tag("dd", count(n)), class_=name) for name, n in cards.items()])
        + (_show_scheduled(content.scheduled) if content.scheduled else "")
        + _counts(content.counts, content.settled)
        + (_show_malformed(content.strays) if content.strays.counts else "")
        + (_show_losses(content.losses) if content.losses else "")
        + tag("h2", "Blocks")
        + tag(
            "p",
            f"Completed records are stored in blocks of {count(BLOCK_OFFSETS)} offsets. These are the newest {LISTED}:",
        )
        + grid(["Partition / origin / block", "Completed#", "Duplicates#"], map(_block, content.blocks))
    )


def show_entry(entry: BlockEntry) -> Markup:
    """Return a block as HTML."""
    first, last = entry.offsets
    completed = f"Offsets {count(first)} to {count(last)}: {count(entry.settled)} records are completed"
    partly = f", and {count(entry.messages_in_part)} messages are completed in part" if entry.messages_in_part else ""
    return Markup(tag("p", completed, partly, ".") + _counts(entry.counts, entry.settled))


def _show_scheduled(scheduled: dict[str, int]) -> Markup:
    by_schedule = ", ".join(f"{count(records)} of the schedule {name}" for name, records in scheduled.items())
    return tag("p", f"The sums include the records of schedules: {by_schedule}.", class_="note")


def _show_malformed(malformed: MalformedMessages) -> Markup:
    rows = [[one.origin.removeprefix(MALFORMED_ORIGIN), one.reason, number(one.count)] for one in malformed.counts]
    return Markup(
        tag("h2", "Malformed messages")
        + tag("p", "Messages on internal topics that were not envelopes. They are counted apart from source records.")
        + grid(["Address", "Reason", "Messages#"], rows)
    )


def _show_losses(losses: list[LostMessages]) -> Markup:
    """Return the newest losses of each partition as HTML."""
    rows = [
        [one.origin, number(one.partition), number(one.first), number(one.last), number(one.last - one.first + 1)]
        for one in losses[-LISTED:]
    ]
    return Markup(
        tag("h2", "Lost messages")
        + tag(
            "p",
            "Messages that were deleted from a topic before they were read, by its retention or on request. A message "
            "of the source holds one or more records, and so does one of an internal topic (lost:ADDRESS).",
        )
        + grid(["Origin", "Partition#", "First offset#", "Last offset#", "Messages#"], rows)
    )


def _block(block: ListedBlock) -> list[Markup]:
    link = tag("a", block.key, href=f"/table/outcomes/{quote(block.key)}/")
    return [link, number(block.settled), number(block.duplicates)]


def _counts(counts: list[OutcomeCount], completed: int) -> Markup:
    rows = []
    for row in counts:
        share = 100 * row.count / max(completed, 1)
        bar = tag("span", class_=f"bar {row.ending}", style=f"width:{share:.2f}%")
        ending = tag("b", row.ending, class_=f"ending {row.ending}")
        rows.append([row.stop, ending, row.reason, number(row.count), number(percent(row.count, completed)), bar])
    return grid(["Last stop", "Outcome", "Reason", "Records#", "Share#", ""], rows, class_="counts")
