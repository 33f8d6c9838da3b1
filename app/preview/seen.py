"""Journeys and dead letters as a preview sees them: the stops, the rule that chose each, and the record at the end."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from metroline.app.operations.letter import Letter
from metroline.routing.journeys.summary import SHOWN_BYTES, StoredJourney
from metroline.routing.messages.metadata import Metadata
from metroline.routing.outcome import Cause, Ending

UNREAD = (Cause.MALFORMED_RECORD, Cause.MALFORMED_ENVELOPE, Cause.TOO_LARGE)
"""Causes of dead letters that keep bytes which are not the record: no rule can read them."""

BY_RULES = (Cause.RULE_ERROR, Cause.UNROUTABLE, Cause.TOO_MANY_HOPS)
"""Causes of dead letters that the rules after the last stop decided: their record is the one that left the stop."""


class Chosen(NamedTuple):
    """A visited stop, and the rule and the version of the table that chose it."""

    stop: str
    rule: str | None
    version: int


class Shape(NamedTuple):
    """All that journeys by the same rules have in common. A line has few shapes, however many journeys."""

    way: tuple[Chosen, ...]
    ending: Ending
    detail: str
    """The name of the end, the reason of a drop, or the cause of a dead letter."""
    rule: str | None
    """The rule that decided the outcome; None if a service did, or no rule held."""

    @property
    def stops(self) -> tuple[str, ...]:
        return tuple(chosen.stop for chosen in self.way)

    @property
    def outcome(self) -> str:
        """The outcome in words, without the details that differ between journeys."""
        return outcome_text(self.ending, self.detail)

    @property
    def is_ended_by_rules(self) -> bool:
        """True if the rules after the last stop decided the outcome; False if a service did, or an operator.

        An end in another system is a stop that delivers.
        """
        if self.ending is Ending.DEAD:
            return self.detail in BY_RULES
        if self.ending is Ending.DELIVERED and self.rule is None and self.way and self.detail == self.way[-1].stop:
            return False
        return self.ending is Ending.DELIVERED or self.rule is not None

    @property
    def is_readable(self) -> bool:
        """False if the journey has no record that rules could read."""
        return self.ending is not Ending.DEAD or self.detail not in UNREAD


@dataclass(frozen=True, slots=True)
class Seen:
    """One journey that the line remembers."""

    id: str
    shape: Shape
    line: bytes | None
    """The record as it left its last stop, as JSON. None if only its beginning is kept.

    If a service ended the journey, it is the record that came to this service.
    """
    entered: float
    settled: float
    metadata: Metadata | None = None
    """The metadata of the source message; None if it is not known."""
    source: bytes | None = None
    """The record as it came in; None if it is not known."""

    @classmethod
    def of_journey(cls, stored: StoredJourney) -> Seen | None:
        """Return a stored journey; None if it has no outcome that is known."""
        try:
            ending = Ending(stored.outcome or "")
        except ValueError:
            return None
        way = tuple([Chosen(visit.stop, visit.rule, visit.version) for visit in stored.stops])
        reason = stored.reason or ""
        detail = reason.partition(": ")[0] if ending is Ending.DEAD else reason
        encoded = stored.record.encode()
        line = encoded if len(encoded) < SHOWN_BYTES else None
        return cls(stored.id, Shape(way, ending, detail, stored.rule), line, stored.entered, stored.settled)

    @classmethod
    def of_letter(cls, letter: Letter) -> Seen:
        """Return the journey of a dead letter, which keeps the whole record and the metadata of its message."""
        segment = letter.envelope.segments[0]
        outcome = segment.outcome
        way = tuple([Chosen(visit.stop, visit.rule, visit.version) for visit in segment.history])
        cause = "" if outcome is None or outcome.cause is None else outcome.cause
        shape = Shape(way, Ending.DEAD, cause, None if outcome is None else outcome.rule)
        metadata = segment.metadata or Metadata()
        return cls(letter.id, shape, letter.line, segment.entered, letter.settled, metadata)


def outcome_text(ending: Ending, detail: str) -> str:
    """Return an outcome in words: `delivered at archive`, `dropped: no order`, `dead: unroutable`."""
    if not detail:
        return str(ending)
    return f"{ending}{' at ' if ending is Ending.DELIVERED else ': '}{detail}"
