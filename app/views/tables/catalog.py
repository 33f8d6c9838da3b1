"""The tables of a line whose entries lie with several workers, and what their pages need to know about each."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from msgspec import Struct, convert

from metroline.agents.registration import Tables
from metroline.agents.tables.line_table import LineTable
from metroline.app.markup.html import Markup
from metroline.app.views.tables import journeys, outcomes
from metroline.app.views.tables.journeys import JourneysContent, StoredEntry
from metroline.app.views.tables.outcomes import BlockEntry, OutcomesContent
from metroline.app.views.tables.totals import StoredBlock

Content = TypeVar("Content", bound=Struct)
Stored = TypeVar("Stored", bound=Struct)
Explained = TypeVar("Explained", bound=Struct)

RULES = "rules"
RULES_DESCRIPTION = "The rules: the current version, earlier versions, and versions that this worker refused."

OWNER = "arrivals"
"""The role whose workers hold every table but the rules, which all workers hold."""


@dataclass(frozen=True, slots=True)
class GatheredTable(Generic[Content, Stored, Explained]):
    """A table: how the content of its page is read on one worker, merged from several, and shown."""

    name: str
    description: str
    table: Callable[[Tables], LineTable | None]
    """Returns the table on this worker; None if the worker does not have the role of its owner."""
    content: type[Content]
    stored: type[Stored]
    """The shape of an entry in the table."""
    read: Callable[[LineTable, frozenset[int]], Awaitable[Content]]
    merge: Callable[[Iterable[Content]], Content]
    show: Callable[[Content], Markup]
    explain: Callable[[str, Stored], Explained]
    """Returns what a page says about an entry, from its key and its value."""
    show_entry: Callable[[Explained], Markup]

    def explained(self, key: str, value: object) -> Explained:
        """Explain an entry as decoded from JSON; raise `msgspec.ValidationError` if it has another shape."""
        return self.explain(key, convert(value, self.stored))


AnyTable = GatheredTable[Any, Any, Any]
"""A table that is picked by its name."""


def _journeys(name: str, description: str, table: Callable[[Tables], LineTable | None]) -> AnyTable:
    return GatheredTable(
        name,
        description,
        table,
        JourneysContent,
        StoredEntry,
        journeys.read,
        journeys.merge,
        journeys.show,
        journeys.explain,
        journeys.show,
    )


OUTCOMES: GatheredTable[OutcomesContent, StoredBlock, BlockEntry] = GatheredTable(
    "outcomes",
    "Completed journeys, counted by last stop, outcome and reason. Each record counts once.",
    lambda tables: tables.outcomes,
    OutcomesContent,
    StoredBlock,
    outcomes.read,
    outcomes.merge,
    outcomes.show,
    outcomes.explain,
    outcomes.show_entry,
)

TABLES: dict[str, AnyTable] = {
    table.name: table
    for table in (
        OUTCOMES,
        _journeys(
            "journeys",
            "The latest journeys, stop by stop. This is a sample: a few from each message that arrived. The page "
            "/journeys/ searches many more. A hop on the bus is a message within the line; a worker that runs the next "
            "stop itself needs none.",
            lambda tables: None if tables.journeys is None else tables.journeys.table,
        ),
        _journeys(
            "dead_letters",
            "The latest dead letters and their causes. The dead-letters topic holds all of them.",
            lambda tables: None if tables.letters is None else tables.letters.table,
        ),
    )
}

NAMES = [RULES, *TABLES]
