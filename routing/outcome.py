"""Answers of a service other than the record itself, `Drop` and `Retry`, and the outcome of a journey."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

MAX_DETAIL = 2_000
"""Characters of an outcome's detail that travel with the record."""


def sendable(text: str) -> str:
    """Return somebody else's text as it can travel: cut to `MAX_DETAIL` and without halves of surrogate pairs."""
    return text[:MAX_DETAIL].encode(errors="replace").decode()


@dataclass(frozen=True, slots=True)
class Drop:
    """Drop the record on purpose and count it under `reason` (Message Filter)."""

    reason: str


@dataclass(frozen=True, slots=True)
class Retry:
    """Try the record again at this stop, not before `after` seconds have passed."""

    reason: str = "asked for"
    after: float = 0.0


class Ending(StrEnum):
    """The three outcomes of a journey."""

    DELIVERED = "delivered"
    """It reached the end of the line."""
    DROPPED = "dropped"
    """A rule or a service took it off the line on purpose."""
    DEAD = "dead"
    """It could not go on; a dead letter says why."""


class Cause(StrEnum):
    """The kinds of dead letters."""

    RULE_ERROR = "rule_error"
    """A condition could not be decided."""
    UNROUTABLE = "unroutable"
    """The stop has rules and none of them holds, or the next stop has no topic."""
    TOO_MANY_HOPS = "too_many_hops"
    """The journey visited `max_hops` stops already."""
    SERVICE_ERROR = "service_error"
    """The service raised."""
    BAD_RETURN = "bad_return"
    """The service returned neither a dict nor `Drop` nor `Retry`."""
    NOT_ENCODABLE = "not_encodable"
    """The service returned a record that JSON cannot hold."""
    RETRIES_EXHAUSTED = "retries_exhausted"
    """The service asked for another attempt and has none left."""
    TIMEOUT = "timeout"
    """The service took longer than its `timeout`."""
    EXPIRED = "expired"
    """The journey took longer than `max_age`."""
    MALFORMED_RECORD = "malformed_record"
    """A line of a source message is no JSON object, or one that JSON in Python would change."""
    MALFORMED_ENVELOPE = "malformed_envelope"
    """A message on an inner topic is no envelope."""
    TOO_LARGE = "too_large"
    """The record does not fit into a message."""
    INTERNAL_ERROR = "internal_error"
    """A mistake of this program; the worker's log has the traceback."""


@dataclass(frozen=True, slots=True)
class ServiceError:
    """An exception that a service raised."""

    type: str
    """The name of its class."""
    text: str
    place: str = ""
    """The last place in the author's own code, as `file.py:17 in function`; empty where there is none."""

    def __str__(self) -> str:
        return f"{self.type}: {self.text}" + (f" ({self.place})" if self.place else "")


@dataclass(frozen=True, slots=True)
class Outcome:
    """The end of a journey."""

    ending: Ending
    cause: Cause | None = None
    """The kind of a dead letter; None for the other endings."""
    detail: str = ""
    """The reason of a drop, or what is known about a dead letter beside its cause."""
    rule: str | None = None
    """The name of the rule that decided it."""
    error: ServiceError | None = None
    """The exception of the service, where one ended the journey."""

    @classmethod
    def dropped(cls, reason: str, rule: str | None = None) -> Outcome:
        """Return the outcome of a record that was taken off the line on purpose."""
        return cls(Ending.DROPPED, None, sendable(reason), rule)

    @classmethod
    def dead(cls, cause: Cause, detail: str = "", rule: str | None = None) -> Outcome:
        """Return the outcome of a dead letter."""
        return cls(Ending.DEAD, cause, sendable(detail), rule)

    @classmethod
    def raised(cls, error: ServiceError) -> Outcome:
        """Return the outcome of a record on which a service raised."""
        return cls(Ending.DEAD, Cause.SERVICE_ERROR, error=error)

    @property
    def reason(self) -> str | None:
        """The reason as people read it: that of a drop or, for a dead letter, `cause: detail`; None if delivered."""
        if self.ending is Ending.DELIVERED:
            return None
        if self.cause is None:
            return self.detail
        detail = self.detail if self.error is None else str(self.error)
        return f"{self.cause}: {detail}" if detail else str(self.cause)


DELIVERED = Outcome(Ending.DELIVERED)
"""The outcome of every record that reaches the end of the line."""
