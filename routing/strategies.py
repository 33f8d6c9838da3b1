"""The routing strategies: one rules table, four places to decide. A class per strategy, and no other code asks which.

A strategy is a property of the journey: the on-ramp stamps it on what it sends, and every worker carries each
journey on as it began.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar

from routing.errors import UnknownStrategy
from routing.itinerary import Ask, Course, Itinerary
from routing.rules import SOURCE, RuleBook
from routing.values import Reads

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
    def begin(self, books: Books, record: dict[str, Any]) -> Course:
        """The way of a record that has just come in, as far as the on-ramp knows it."""

    def watches(self, itinerary: Itinerary | None) -> Reads:
        """The fields whose change at a stop matters here."""
        return NOTHING

    @abstractmethod
    def leave(
        self, books: Books, stop: str, record: dict[str, Any], itinerary: Itinerary | None, *, changed: bool
    ) -> Course:
        """The way of a record that a stop has just handled; `changed`: whether one of the watched fields did."""


class HardWired(Strategy):
    """On-ramp and services hold their own outgoing rules, from the line's file when the worker started."""

    name = "hard_wired"
    needs_live = False

    def begin(self, books: Books, record: dict[str, Any]) -> Course:
        return books.filed.decide(SOURCE, record)

    def leave(
        self, books: Books, stop: str, record: dict[str, Any], itinerary: Itinerary | None, *, changed: bool
    ) -> Course:
        return books.filed.decide_as_sent(stop, record)


class Conductor(Strategy):
    """A conductor is asked at the start and after every stop (Process Manager)."""

    name = "conductor"

    def begin(self, books: Books, record: dict[str, Any]) -> Course:
        return Ask.CONDUCTOR

    def leave(
        self, books: Books, stop: str, record: dict[str, Any], itinerary: Itinerary | None, *, changed: bool
    ) -> Course:
        return Ask.CONDUCTOR


class MapMaker(Strategy):
    """A map maker plans the whole itinerary at the start (Routing Slip); a switch re-plans a stale one."""

    name = "map_maker"

    def begin(self, books: Books, record: dict[str, Any]) -> Course:
        return Ask.MAP_MAKER

    def watches(self, itinerary: Itinerary | None) -> Reads:
        return NOTHING if itinerary is None else itinerary.reads

    def leave(
        self, books: Books, stop: str, record: dict[str, Any], itinerary: Itinerary | None, *, changed: bool
    ) -> Course:
        return Ask.SWITCH if changed or itinerary is None else itinerary


class Signpost(Strategy):
    """On-ramp and services decide from their own replica of the live table (hop-by-hop forwarding)."""

    name = "signpost"

    def begin(self, books: Books, record: dict[str, Any]) -> Course:
        return books.live.decide(SOURCE, record)

    def leave(
        self, books: Books, stop: str, record: dict[str, Any], itinerary: Itinerary | None, *, changed: bool
    ) -> Course:
        return books.live.decide_as_sent(stop, record)


STRATEGIES: dict[str, Strategy] = {
    strategy.name: strategy for strategy in (HardWired(), Conductor(), MapMaker(), Signpost())
}


def strategy_named(name: str) -> Strategy:
    """The strategy of this name; raises `UnknownStrategy` with the list of those that exist."""
    try:
        return STRATEGIES[name]
    except KeyError:
        raise UnknownStrategy(f"there is no strategy {name!r}; there are {', '.join(STRATEGIES)}") from None
