"""The routing strategies: one rules table, four places to decide. A class per strategy, and no other code asks which.

A strategy is a property of the journey: the on-ramp stamps it on what it sends, and every worker carries each
journey on as it began.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from metroline.routing.errors import UnknownStrategy
from metroline.routing.messages.itinerary import Ask, Course, Itinerary
from metroline.routing.records.field_reader import EMPTY_READER, FieldReader
from metroline.routing.records.fingerprints import Reads
from metroline.routing.rules.table import SOURCE, RuleBook

NOTHING: Reads = frozenset()


@dataclass(frozen=True, slots=True)
class Books:
    """The two tables that a worker holds: the line's file as it was at the start, and the live one."""

    filed: RuleBook
    live: RuleBook


class Strategy(ABC):
    """Where and when the rules table is consulted."""

    name: ClassVar[str]
    needs_live: ClassVar[bool] = True
    """Whether it waits for a published table; one that does not holds the line's file."""

    @abstractmethod
    def reader(self, books: Books, after: str) -> FieldReader:
        """Reads what the ways after this stop depend on; `source` is where all begin."""

    @abstractmethod
    def begin(self, books: Books, records: Sequence[dict[str, Any]]) -> Sequence[Course]:
        """The ways of records that have just come in, as far as the on-ramp knows them."""

    def watches(self, itinerary: Itinerary | None) -> Reads:
        """The fields whose change at a stop matters here."""
        return NOTHING

    @abstractmethod
    def leave(
        self,
        books: Books,
        stop: str,
        records: Sequence[dict[str, Any]],
        itinerary: Itinerary | None,
        changed: Sequence[bool],
    ) -> Sequence[Course]:
        """The ways of records that a stop has just handled; `changed`: for which of them a watched field did.

        Of the records there is what the strategy's reader for the stop reads.
        """


class HardWired(Strategy):
    """On-ramp and services hold their own outgoing rules, from the line's file when the worker started."""

    name = "hard_wired"
    needs_live = False

    def reader(self, books: Books, after: str) -> FieldReader:
        return books.filed.junction(after).reader

    def begin(self, books: Books, records: Sequence[dict[str, Any]]) -> Sequence[Course]:
        return books.filed.junction(SOURCE).decide(records)

    def leave(
        self,
        books: Books,
        stop: str,
        records: Sequence[dict[str, Any]],
        itinerary: Itinerary | None,
        changed: Sequence[bool],
    ) -> Sequence[Course]:
        return books.filed.junction(stop).decide(records)


class Conductor(Strategy):
    """A conductor is asked at the start and after every stop (Process Manager)."""

    name = "conductor"

    def reader(self, books: Books, after: str) -> FieldReader:
        return EMPTY_READER

    def begin(self, books: Books, records: Sequence[dict[str, Any]]) -> Sequence[Course]:
        return [Ask.CONDUCTOR] * len(records)

    def leave(
        self,
        books: Books,
        stop: str,
        records: Sequence[dict[str, Any]],
        itinerary: Itinerary | None,
        changed: Sequence[bool],
    ) -> Sequence[Course]:
        return [Ask.CONDUCTOR] * len(records)


class MapMaker(Strategy):
    """A map maker plans the whole itinerary at the start (Routing Slip); a switch re-plans a stale one."""

    name = "map_maker"

    def reader(self, books: Books, after: str) -> FieldReader:
        return EMPTY_READER

    def begin(self, books: Books, records: Sequence[dict[str, Any]]) -> Sequence[Course]:
        return [Ask.MAP_MAKER] * len(records)

    def watches(self, itinerary: Itinerary | None) -> Reads:
        return NOTHING if itinerary is None else itinerary.reads

    def leave(
        self,
        books: Books,
        stop: str,
        records: Sequence[dict[str, Any]],
        itinerary: Itinerary | None,
        changed: Sequence[bool],
    ) -> Sequence[Course]:
        if itinerary is None:
            return [Ask.SWITCH] * len(records)
        return [Ask.SWITCH if stale else itinerary for stale in changed]


class Signpost(Strategy):
    """On-ramp and services decide from their own replica of the live table (hop-by-hop forwarding)."""

    name = "signpost"

    def reader(self, books: Books, after: str) -> FieldReader:
        return books.live.junction(after).reader

    def begin(self, books: Books, records: Sequence[dict[str, Any]]) -> Sequence[Course]:
        return books.live.junction(SOURCE).decide(records)

    def leave(
        self,
        books: Books,
        stop: str,
        records: Sequence[dict[str, Any]],
        itinerary: Itinerary | None,
        changed: Sequence[bool],
    ) -> Sequence[Course]:
        return books.live.junction(stop).decide(records)


STRATEGIES: dict[str, Strategy] = {
    strategy.name: strategy for strategy in (HardWired(), Conductor(), MapMaker(), Signpost())
}


def strategy_named(name: str) -> Strategy:
    """The strategy of this name; raises `UnknownStrategy` with the list of those that exist."""
    try:
        return STRATEGIES[name]
    except KeyError:
        raise UnknownStrategy(f"there is no strategy {name!r}; there are {', '.join(STRATEGIES)}") from None
