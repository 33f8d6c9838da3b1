"""Entries of a line's tables as the arrivals write them, for tests of the pages that show them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, cast

from metroline.agents.tables.line_table import LineTable
from metroline.routing.journeys.settlement import BLOCK_OFFSETS, SettledBlock, outcome_key
from metroline.routing.journeys.summary import summary as written
from metroline.routing.messages.record_ids import Origin
from metroline.routing.messages.segment import Segment, Visit
from metroline.routing.outcome import Ending, Outcome


def block(
    delivered: int = 0, dropped: int = 0, duplicates: int = 0, stop: str = "log", reason: str = "unwanted"
) -> Any:
    """Return a block with these numbers of settled records, each of which was a message of its own."""
    made = SettledBlock()
    ids = iter(range(BLOCK_OFFSETS))
    for count, outcome in ((delivered, Outcome(Ending.DELIVERED)), (dropped, Outcome.dropped(reason))):
        settled = [next(ids) for _ in range(count)]
        made.settle(settled, outcome_key(stop, outcome), hops=3)
        made.settle(settled[:duplicates], outcome_key(stop, outcome), hops=3)
    return made.encode()


def journey(number: int = 0, at: float = 1_000.0, stops: Iterable[str] = ("a",)) -> dict[str, Any]:
    """Return a journey that ended at `at`, as the arrivals write it."""

    history = tuple(Visit(stop, at - 1, f"to {stop}", "on-ramp", 1) for stop in stops)
    segment = Segment((number,), (b'{"n":1}',), at - 2, history, outcome=Outcome(Ending.DELIVERED), hops=3)
    return dict(written(Origin("source", 0), segment, 0, at))


class Entries:
    """A table with these entries; it is read as a `LineTable` is."""

    def __init__(self, entries: dict[str, Any]) -> None:
        self._entries = entries

    def entries(self, partitions: frozenset[int]) -> Iterator[tuple[str, Any]]:
        for key, value in self._entries.items():
            if int(key.partition("/")[0]) in partitions:
                yield key, value

    @property
    def table(self) -> LineTable:
        return cast(LineTable, self)
