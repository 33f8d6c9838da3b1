"""The routing strategies: one class each. No other module asks which strategy is in use.

Each strategy consults the rules table at another place. A strategy is a property of the journey: the on-ramp writes its
name into every envelope, and every worker finishes a journey under the strategy with which it began.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from msgspec import Struct

from metroline.routing.addresses import CONDUCTOR, MAP_MAKER, SOURCE, SWITCH
from metroline.routing.errors import UnknownStrategy
from metroline.routing.messages.itinerary import Decider, Itinerary, NextStep
from metroline.routing.records.field_reader import EMPTY_READER, FieldReader
from metroline.routing.records.field_sets import NOTHING, FieldSet
from metroline.routing.rules.rule_meta import RuleMetas
from metroline.routing.rules.table import RulesTable
from metroline.routing.spelling import suggestion


@dataclass(frozen=True, slots=True)
class RuleTables:
    """The two rules tables that a worker holds: the line's file as read at start-up, and the live table."""

    from_file: RulesTable
    live: RulesTable


class Leaving(Struct, frozen=True):
    """Records of one segment that a stop has just handled and that now need a next step."""

    stop: str
    records: Sequence[dict[str, Any]]
    """For each record the fields that the strategy's `reader` for this stop reads."""
    itinerary: Itinerary | None
    """The plan that the records carry, if any."""
    changed: Sequence[bool]
    """For each record, whether the stop changed one of the strategy's `plan_fields`."""
    metas: RuleMetas = None
    """For each record its metadata, if the strategy's `reader` for this stop names any."""


class Strategy(ABC):
    """Decides when the rules table is consulted, and by which part of the line."""

    name: ClassVar[str]
    routers: ClassVar[tuple[str, ...]] = ()
    """The addresses of the routers that decide about records of this strategy."""
    needs_live: ClassVar[bool] = True
    """True if the strategy waits for a published table; if not, it uses the line's file."""

    @abstractmethod
    def reader(self, rule_tables: RuleTables, after: str) -> FieldReader:
        """Return the reader of the fields on which the step after the stop `after` depends; `SOURCE` for the first."""

    @abstractmethod
    def begin(
        self, rule_tables: RuleTables, records: Sequence[dict[str, Any]], metas: RuleMetas = None
    ) -> Sequence[NextStep]:
        """Return the first step of each record that has just entered; `metas` as in `Leaving`."""

    def plan_fields(self, itinerary: Itinerary | None) -> FieldSet:
        """Return the fields whose change at a stop makes the itinerary stale."""
        return NOTHING

    @abstractmethod
    def leave(self, rule_tables: RuleTables, leaving: Leaving) -> Sequence[NextStep]:
        """Return the next step of each record that leaves a stop."""


class HardWired(Strategy):
    """On-ramp and services decide with their own outgoing rules, from the line's file as read at start-up."""

    name = "hard_wired"
    needs_live = False

    def reader(self, rule_tables: RuleTables, after: str) -> FieldReader:
        return rule_tables.from_file.stop_rules(after).reader

    def begin(
        self, rule_tables: RuleTables, records: Sequence[dict[str, Any]], metas: RuleMetas = None
    ) -> Sequence[NextStep]:
        return rule_tables.from_file.stop_rules(SOURCE).decide(records, metas)

    def leave(self, rule_tables: RuleTables, leaving: Leaving) -> Sequence[NextStep]:
        return rule_tables.from_file.stop_rules(leaving.stop).decide(leaving.records, leaving.metas)


class Conductor(Strategy):
    """A conductor decides at the start and after every stop (Process Manager)."""

    name = "conductor"
    routers = (CONDUCTOR,)

    def reader(self, rule_tables: RuleTables, after: str) -> FieldReader:
        return EMPTY_READER

    def begin(
        self, rule_tables: RuleTables, records: Sequence[dict[str, Any]], metas: RuleMetas = None
    ) -> Sequence[NextStep]:
        return [Decider.CONDUCTOR] * len(records)

    def leave(self, rule_tables: RuleTables, leaving: Leaving) -> Sequence[NextStep]:
        return [Decider.CONDUCTOR] * len(leaving.records)


class MapMaker(Strategy):
    """A map maker plans the whole itinerary at the start (Routing Slip); a switch replaces a stale one."""

    name = "map_maker"
    routers = (MAP_MAKER, SWITCH)

    def reader(self, rule_tables: RuleTables, after: str) -> FieldReader:
        return EMPTY_READER

    def begin(
        self, rule_tables: RuleTables, records: Sequence[dict[str, Any]], metas: RuleMetas = None
    ) -> Sequence[NextStep]:
        return [Decider.MAP_MAKER] * len(records)

    def plan_fields(self, itinerary: Itinerary | None) -> FieldSet:
        return NOTHING if itinerary is None else itinerary.reads

    def leave(self, rule_tables: RuleTables, leaving: Leaving) -> Sequence[NextStep]:
        if leaving.itinerary is None:
            return [Decider.SWITCH] * len(leaving.records)
        return [Decider.SWITCH if stale else leaving.itinerary for stale in leaving.changed]


class Signpost(Strategy):
    """On-ramp and services decide with their own replica of the live table (hop-by-hop forwarding)."""

    name = "signpost"

    def reader(self, rule_tables: RuleTables, after: str) -> FieldReader:
        return rule_tables.live.stop_rules(after).reader

    def begin(
        self, rule_tables: RuleTables, records: Sequence[dict[str, Any]], metas: RuleMetas = None
    ) -> Sequence[NextStep]:
        return rule_tables.live.stop_rules(SOURCE).decide(records, metas)

    def leave(self, rule_tables: RuleTables, leaving: Leaving) -> Sequence[NextStep]:
        return rule_tables.live.stop_rules(leaving.stop).decide(leaving.records, leaving.metas)


STRATEGIES: dict[str, Strategy] = {
    strategy.name: strategy for strategy in (HardWired(), Conductor(), MapMaker(), Signpost())
}


def strategy_named(name: str) -> Strategy:
    """Return the strategy with this name; raise `UnknownStrategy`, which lists all names, if there is none."""
    try:
        return STRATEGIES[name]
    except KeyError:
        raise UnknownStrategy(
            f"there is no strategy {name!r}; there are {', '.join(STRATEGIES)}{suggestion(name, STRATEGIES)}"
        ) from None
