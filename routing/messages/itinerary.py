"""The next step of a record: a decision, a hop to a decider, or an itinerary of several legs."""

from __future__ import annotations

from enum import Enum
from typing import Any

from msgspec import Struct

from metroline.routing.addresses import ARRIVALS, CONDUCTOR, MAP_MAKER, SWITCH, service_address
from metroline.routing.errors import MetrolineError
from metroline.routing.messages.header_checks import natural, stop_name, text, text_or_none
from metroline.routing.outcome import Ending, Outcome
from metroline.routing.records.field_sets import FieldSet, union


class Provenance(Struct, frozen=True):
    """The origin of a decision: the rule, the decider (`by`) and the version of the rules table."""

    rule: str | None
    by: str
    version: int


class Hop(Struct, frozen=True, eq=False):
    """One message ahead: its address, who chose it, the rest of the plan, and the outcome if the journey ends."""

    to: str
    chosen: Provenance | None = None
    itinerary: Itinerary | None = None
    outcome: Outcome | None = None


class Decider(Enum):
    """A leg that leads to a decider instead of a stop; the value is the decider's address."""

    CONDUCTOR = CONDUCTOR
    MAP_MAKER = MAP_MAKER
    SWITCH = SWITCH

    def hop(self, by: str) -> Hop:
        """Return the hop to the decider. It has no provenance, since no stop has been chosen yet."""
        return Hop(self.value)


class Decision(Struct, frozen=True):
    """The decision of a rules table after a stop: the next stop or, if the journey ends, the outcome."""

    stop: str | None
    outcome: Outcome | None
    rule: str | None
    version: int
    """Version of the rules table."""
    reads: FieldSet
    """The fields on which the decision depends."""

    def hop(self, by: str) -> Hop:
        """Return the hop to the next stop, or to the arrivals if the journey ends; `by` is the decider."""
        chosen = Provenance(self.rule, by, self.version)
        if self.stop is None:
            return Hop(ARRIVALS, chosen, outcome=self.outcome)
        return Hop(service_address(self.stop), chosen)


class Itinerary(Struct, frozen=True):
    """The legs still ahead of a record (Routing Slip), planned with one version of the rules table."""

    version: int
    legs: tuple[Decision | Decider, ...]
    by: str = ""
    """The decider that planned it; empty until the first hop."""

    @property
    def reads(self) -> FieldSet:
        """The fields on which the decisions still ahead depend."""
        return union(leg.reads for leg in self.legs if isinstance(leg, Decision))

    def hop(self, by: str) -> Hop:
        """Return the hop along the first leg; the remaining legs travel with the record.

        The history names the planner, not the stop that follows the plan.
        """
        planner = self.by or by
        hop = self.legs[0].hop(planner)
        if hop.to in (ARRIVALS, SWITCH):
            return hop
        return Hop(hop.to, hop.chosen, Itinerary(self.version, self.legs[1:], planner))

    def encode(self) -> dict[str, Any]:
        return {"version": self.version, "by": self.by, "legs": [_encode_leg(leg) for leg in self.legs]}

    @classmethod
    def decode(cls, data: dict[str, Any]) -> Itinerary:
        """Return the itinerary in JSON data.

        Raise `LookupError`, `TypeError`, `ValueError` or `MetrolineError` if the data is not an itinerary.
        """
        version = natural(data["version"])
        legs = tuple(_decode_leg(leg, version) for leg in data["legs"])
        if not legs:
            raise ValueError("the itinerary has no legs")
        return cls(version, legs, text(data["by"]))


NextStep = Decision | Itinerary | Decider
"""The next step of a record; `hop(by)` returns the message that takes it."""


def _encode_leg(leg: Decision | Decider) -> list[Any]:
    if isinstance(leg, Decider):
        return [leg.value]
    reads = None if leg.reads is None else sorted(leg.reads)
    outcome = leg.outcome
    return [leg.stop, leg.rule, reads, None if outcome is None else [outcome.ending, outcome.detail]]


def _decode_leg(leg: list[Any], version: int) -> Decision | Decider:
    if len(leg) == 1:
        return Decider(leg[0])
    stop, rule, reads, end = leg
    if (stop is None) == (end is None):
        raise MetrolineError("a leg must have either a stop or an outcome")
    rule, stop = text_or_none(rule), None if stop is None else stop_name(stop)
    outcome = None if end is None else _forecast_end(rule, *end)
    return Decision(stop, outcome, rule, version, None if reads is None else frozenset(map(text, reads)))


def _forecast_end(rule: str | None, ending: Any, reason: Any) -> Outcome:
    return Outcome(Ending(ending), None, text_or_none(reason) or "", rule)
