"""The routing strategies: one rules table, four places to decide. A class per strategy, and no other code asks which.

A strategy is a property of the journey: the on-ramp stamps it on what it sends, and every worker carries each
journey on as it began.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from metroline.routing.addresses import SOURCE
from metroline.routing.errors import UnknownStrategy
from metroline.routing.messages.itinerary import Decider, Itinerary, NextStep
from metroline.routing.records.field_reader import EMPTY_READER, FieldReader
from metroline.routing.records.field_sets import NOTHING, FieldSet
from metroline.routing.rules.table import RulesTable


@dataclass(frozen=True, slots=True)
class RuleTables:
    """The two tables that a worker holds: the line's file as it was at the start, and the live one."""

    from_file: RulesTable
    live: RulesTable


class Strategy(ABC):
    """Where and when the rules table is consulted."""

    name: ClassVar[str]
    needs_live: ClassVar[bool] = True
    """Whether it waits for a published table; one that does not holds the line's file."""

    @abstractmethod
    def reader(self, rule_tables: RuleTables, after: str) -> FieldReader:
        """Reads what the ways after this stop depend on; `source` is where all begin."""

    @abstractmethod
    def begin(self, rule_tables: RuleTables, records: Sequence[dict[str, Any]]) -> Sequence[NextStep]:
        """The ways of records that have just come in, as far as the on-ramp knows them."""

    def plan_fields(self, itinerary: Itinerary | None) -> FieldSet:
        """The fields whose change at a stop matters here."""
        return NOTHING

    @abstractmethod
    def leave(
        self,
        rule_tables: RuleTables,
        stop: str,
        records: Sequence[dict[str, Any]],
        itinerary: Itinerary | None,
        changed: Sequence[bool],
    ) -> Sequence[NextStep]:
        """The ways of records that a stop has just handled; `changed`: for which of them a watched field did.

        Of the records there is what the strategy's reader for the stop reads.
        """


class HardWired(Strategy):
    """On-ramp and services hold their own outgoing rules, from the line's file when the worker started."""

    name = "hard_wired"
    needs_live = False

    def reader(self, rule_tables: RuleTables, after: str) -> FieldReader:
        return rule_tables.from_file.stop_rules(after).reader

    def begin(self, rule_tables: RuleTables, records: Sequence[dict[str, Any]]) -> Sequence[NextStep]:
        return rule_tables.from_file.stop_rules(SOURCE).decide(records)

    def leave(
        self,
        rule_tables: RuleTables,
        stop: str,
        records: Sequence[dict[str, Any]],
        itinerary: Itinerary | None,
        changed: Sequence[bool],
    ) -> Sequence[NextStep]:
        return rule_tables.from_file.stop_rules(stop).decide(records)


class Conductor(Strategy):
    """A conductor is asked at the start and after every stop (Process Manager)."""

    name = "conductor"

    def reader(self, rule_tables: RuleTables, after: str) -> FieldReader:
        return EMPTY_READER

    def begin(self, rule_tables: RuleTables, records: Sequence[dict[str, Any]]) -> Sequence[NextStep]:
        return [Decider.CONDUCTOR] * len(records)

    def leave(
        self,
        rule_tables: RuleTables,
        stop: str,
        records: Sequence[dict[str, Any]],
        itinerary: Itinerary | None,
        changed: Sequence[bool],
    ) -> Sequence[NextStep]:
        return [Decider.CONDUCTOR] * len(records)


class MapMaker(Strategy):
    """A map maker plans the whole itinerary at the start (Routing Slip); a switch re-plans a stale one."""

    name = "map_maker"

    def reader(self, rule_tables: RuleTables, after: str) -> FieldReader:
        return EMPTY_READER

    def begin(self, rule_tables: RuleTables, records: Sequence[dict[str, Any]]) -> Sequence[NextStep]:
        return [Decider.MAP_MAKER] * len(records)

    def plan_fields(self, itinerary: Itinerary | None) -> FieldSet:
        return NOTHING if itinerary is None else itinerary.reads

    def leave(
        self,
        rule_tables: RuleTables,
        stop: str,
        records: Sequence[dict[str, Any]],
        itinerary: Itinerary | None,
        changed: Sequence[bool],
    ) -> Sequence[NextStep]:
        if itinerary is None:
            return [Decider.SWITCH] * len(records)
        return [Decider.SWITCH if stale else itinerary for stale in changed]


class Signpost(Strategy):
    """On-ramp and services decide from their own replica of the live table (hop-by-hop forwarding)."""

    name = "signpost"

    def reader(self, rule_tables: RuleTables, after: str) -> FieldReader:
        return rule_tables.live.stop_rules(after).reader

    def begin(self, rule_tables: RuleTables, records: Sequence[dict[str, Any]]) -> Sequence[NextStep]:
        return rule_tables.live.stop_rules(SOURCE).decide(records)

    def leave(
        self,
        rule_tables: RuleTables,
        stop: str,
        records: Sequence[dict[str, Any]],
        itinerary: Itinerary | None,
        changed: Sequence[bool],
    ) -> Sequence[NextStep]:
        return rule_tables.live.stop_rules(stop).decide(records)


STRATEGIES: dict[str, Strategy] = {
    strategy.name: strategy for strategy in (HardWired(), Conductor(), MapMaker(), Signpost())
}


def strategy_named(name: str) -> Strategy:
    """The strategy of this name; raises `UnknownStrategy` with the list of those that exist."""
    try:
        return STRATEGIES[name]
    except KeyError:
        raise UnknownStrategy(f"there is no strategy {name!r}; there are {', '.join(STRATEGIES)}") from None
