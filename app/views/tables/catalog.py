"""The tables of a line as its pages know them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from typing import Any

from metroline.agents.registration import Tables
from metroline.agents.tables.line_table import LineTable
from metroline.app.markup.html import Markup
from metroline.app.views.tables import journeys, outcomes

Page = dict[str, Any]

RULES = "rules"
RULES_HELP = "The rules table: the version in force, those before it, and what was refused."

ROLE = "arrivals"
"""The role that keeps every table but the rules, which all workers hold."""


@dataclass(frozen=True, slots=True)
class Shelf:
    """A table whose entries lie with several workers: how a page of it is read here and put together from all."""

    name: str
    help: str
    table: Callable[[Tables], LineTable | None]
    read: Callable[[LineTable, frozenset[int]], Awaitable[Page]]
    merge: Callable[[Iterable[Page]], Page]
    show: Callable[[Page], Markup]
    explain: Callable[[str, Any], Page]
    show_entry: Callable[[Page], Markup]


SHELVES = {
    shelf.name: shelf
    for shelf in (
        Shelf(
            "outcomes",
            "How journeys ended, counted by last stop, ending and reason. Each record counts once.",
            lambda tables: tables.outcomes,
            outcomes.read,
            outcomes.merge,
            outcomes.show,
            outcomes.explain,
            outcomes.show_entry,
        ),
        Shelf(
            "journeys",
            "The latest journeys, stop by stop. A sample: a few of each message that arrived.",
            lambda tables: None if tables.journeys is None else tables.journeys.table,
            journeys.read,
            journeys.merge,
            journeys.show,
            journeys.explain,
            journeys.show,
        ),
        Shelf(
            "dead_letters",
            "The latest records that could not go on, and why. All of them are on the dead-letters topic.",
            lambda tables: None if tables.letters is None else tables.letters.table,
            journeys.read,
            journeys.merge,
            journeys.show,
            journeys.explain,
            journeys.show,
        ),
    )
}

NAMES = [RULES, *SHELVES]
