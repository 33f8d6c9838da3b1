"""What a service may say of a record: the record itself, `Drop` or `Retry`; and how a journey ends."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

MOST_TOLD = 2_000
"""Characters of a reason that travel."""


def told(text: str) -> str:
    """A text of somebody else's as it can travel: not too long, and without halves of surrogate pairs."""
    return text[:MOST_TOLD].encode(errors="replace").decode()


@dataclass(frozen=True, slots=True)
class Drop:
    """The record is dropped on purpose, and counted under `reason` (Message Filter)."""

    reason: str


@dataclass(frozen=True, slots=True)
class Retry:
    """The record shall be tried again at this stop, not before `after` seconds."""

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
    """The kinds of dead letters: how a dead letter's reason begins."""

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
class Outcome:
    """How a journey ended: `reason` is a drop's reason or, for a dead letter, `cause: detail`."""

    ending: Ending
    reason: str | None = None
    rule: str | None = None

    @classmethod
    def dead(cls, cause: Cause, detail: str = "", rule: str | None = None) -> Outcome:
        """A dead letter's outcome; its reason begins with the cause."""
        return cls(Ending.DEAD, told(f"{cause}: {detail}") if detail else str(cause), rule)
