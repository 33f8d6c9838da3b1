"""Tombstones: source messages without a value. They are no records, and end where they come in."""

from __future__ import annotations

from enum import StrEnum

from metroline.routing.journeys.dead_letters import kept
from metroline.routing.messages.itinerary import Decision
from metroline.routing.messages.plain import TOMBSTONE
from metroline.routing.outcome import DELIVERED, Cause, Outcome
from metroline.routing.records.field_sets import NOTHING
from metroline.routing.records.source_messages import NO_VALUE, SourceLine

GONE = SourceLine(TOMBSTONE, None)
"""The line of a tombstone."""


class Tombstones(StrEnum):
    """The outcome of tombstones."""

    DEAD = "dead"
    DROP = "drop"
    DELIVER = "deliver"


_ENDS = {
    Tombstones.DEAD: (kept(b""), Outcome.dead(Cause.MALFORMED_RECORD, NO_VALUE)),
    Tombstones.DROP: (TOMBSTONE, Outcome.dropped("tombstone")),
    Tombstones.DELIVER: (TOMBSTONE, DELIVERED),
}


def ended(tombstones: Tombstones) -> tuple[bytes, Decision]:
    """Return the line by which a tombstone is kept, and the decision that ends it."""
    line, outcome = _ENDS[tombstones]
    return line, Decision(None, outcome, None, 0, NOTHING)
