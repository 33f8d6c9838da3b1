"""Where a record goes next: a decision, a question to who decides, or an itinerary of several legs."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Any

from metroline.routing.addresses import ARRIVALS, CONDUCTOR, MAP_MAKER, SWITCH, service_address
from metroline.routing.errors import MetrolineError
from metroline.routing.messages.header_checks import natural, stop_name, text, text_or_none
from metroline.routing.outcome import Ending, Outcome
from metroline.routing.records.field_sets import FieldSet, union


@dataclass(frozen=True, slots=True)
class Provenance:
    """Who chose the way and by what: the rule, the decider and the version of its table."""

    rule: str | None
    by: str
    version: int


@dataclass(frozen=True, slots=True, eq=False)
class Hop:
    """What the next message says: the address, who chose it, the plan ahead, and the outcome where it ends."""

    to: str
    chosen: Provenance | None = None
    itinerary: Itinerary | None = None
    outcome: Outcome | None = None


class Decider(Enum):
    """A leg that leads to who decides, instead of to a stop; its value is the address."""

    CONDUCTOR = CONDUCTOR
    MAP_MAKER = MAP_MAKER
    SWITCH = SWITCH

    def hop(self, by: str) -> Hop:
        """Return the hop to the decider; nobody has chosen a stop yet."""
        return Hop(self.value)


@dataclass(frozen=True, slots=True)
class Decision:
    """What the table says after a stop: the next stop or the outcome, the deciding rule, and the fields looked at."""

    stop: str | None
    outcome: Outcome | None
    rule: str | None
    version: int
    reads: FieldSet

    def hop(self, by: str) -> Hop:
        """The move to the next stop, or to the arrivals where the journey ends."""
        chosen = Provenance(self.rule, by, self.version)
        if self.stop is None:
            return Hop(ARRIVALS, chosen, outcome=self.outcome)
        return Hop(service_address(self.stop), chosen)


@dataclass(frozen=True, slots=True)
class Itinerary:
    """The legs still ahead (Routing Slip), by one version of the table."""

    version: int
    legs: tuple[Decision | Decider, ...]
    by: str = ""
    """Who planned it; whoever makes its first move."""

    @property
    def reads(self) -> FieldSet:
        """The fields that the legs still ahead were decided on."""
        return union(leg.reads for leg in self.legs if isinstance(leg, Decision))

    def hop(self, by: str) -> Hop:
        """The move along the first leg; the legs behind it travel with the record.

        A stop that goes by the plan is not who decided: the history names who planned.
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
        """Raises LookupError, TypeError, ValueError or `MetrolineError` for what is no itinerary."""
        version = natural(data["version"])
        legs = tuple(_decode_leg(leg, version) for leg in data["legs"])
        if not legs:
            raise ValueError("an itinerary without legs")
        return cls(version, legs, text(data["by"]))


NextStep = Decision | Itinerary | Decider
"""What is known of the way ahead; its `move(by)` is the next step."""


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
        raise MetrolineError("a leg leads to a stop or to an outcome")
    rule, stop = text_or_none(rule), None if stop is None else stop_name(stop)
    outcome = None if end is None else _forecast_end(rule, *end)
    return Decision(stop, outcome, rule, version, None if reads is None else frozenset(map(text, reads)))


def _forecast_end(rule: str | None, ending: Any, reason: Any) -> Outcome:
    return Outcome(Ending(ending), None, text_or_none(reason) or "", rule)
