"""`Drop`, `Retry` and `Wait`, the answers of a service other than a record, and the outcome of a journey."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Literal, Protocol

from metroline.routing.addresses import END
from metroline.routing.foreign_values import plain_text

MAX_DETAIL_CHARACTERS = 2_000
"""Maximum number of characters in the detail of an outcome."""


def sendable(text: str) -> str:
    """Return text from a service that can be sent: at most `MAX_DETAIL_CHARACTERS` long, without lone surrogates."""
    return plain_text(text, MAX_DETAIL_CHARACTERS).encode(errors="replace").decode()


class Moment(Protocol):
    """A point in time, as a `datetime` is one. It has a time zone if `utcoffset` returns one."""

    def timestamp(self) -> float: ...
    def utcoffset(self) -> object: ...


@dataclass(frozen=True, slots=True)
class Drop:
    """Returned by a service to drop the record on purpose and count it under `reason` (Message Filter)."""

    reason: str


@dataclass(frozen=True, slots=True)
class Retry:
    """Returned by a service to try the record again at this stop.

    With `after` or `until` the record waits: it has not failed, and uses up no attempt. Otherwise, it is tried again as
    after an exception.
    """

    reason: str = "no reason given"
    after: float = 0.0
    """Least time before the next attempt, in seconds; 0 for the backoff of the retry policy."""
    until: float | Moment | None = None
    """Time after which the record is not tried again: a `datetime` with a time zone, or seconds since the epoch."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wait:
    """Returned by a service to let the record wait on the bus until a time, for which it uses up no attempt.

    Exactly one of `until` and `seconds` is given.
    """

    until: float | Moment | None = None
    """Time at which the wait ends: a `datetime` with a time zone, or seconds since the epoch."""
    seconds: float | None = None
    """Length of the wait, in seconds."""
    then: Literal["again", "next"] = "again"
    """After the wait, the record comes back to this service (`again`) or continues to its next stop (`next`)."""
    record: Mapping[str, Any] | None = None
    """The record that waits. Default: with `next` the record as the function leaves it, with `again` as it came."""
    progress: str = ""
    """Progress of the work that the record waits for, such as `3 of 12 shards`; pages and dead letters show it."""


@dataclass(frozen=True, slots=True)
class DeliveredAt:
    """Returned by the service of an end in another system: the record is delivered there, and the journey ends."""

    end: str
    """The name of the end."""


class Ending(StrEnum):
    """The three outcomes of a journey."""

    DELIVERED = "delivered"
    """The record reached an end of the line."""
    DROPPED = "dropped"
    """A rule or a service dropped the record on purpose."""
    DEAD = "dead"
    """The record could not continue; it is a dead letter whose cause says why."""


class Cause(StrEnum):
    """The kinds of dead letters."""

    RULE_ERROR = "rule_error"
    """A condition could not be evaluated."""
    UNROUTABLE = "unroutable"
    """The stop has rules but none of them holds, the next stop has no topic, or the end cannot take the record."""
    TOO_MANY_HOPS = "too_many_hops"
    """The journey has already visited `max_hops` stops."""
    SERVICE_ERROR = "service_error"
    """The service raised an exception."""
    BAD_RETURN = "bad_return"
    """The service returned neither a dict nor `Drop`, `Retry` or `Wait`."""
    SCHEMA = "schema"
    """The record, or the one that the service returned, does not fit the type that the service declares."""
    NOT_ENCODABLE = "not_encodable"
    """The service returned a record that cannot be encoded as JSON, or it does not fit the format of its end."""
    RETRIES_EXHAUSTED = "retries_exhausted"
    """The service returned `Retry` and no attempt is left, or a record would wait for longer than it may."""
    TIMEOUT = "timeout"
    """The service took longer than its `timeout`."""
    EXPIRED = "expired"
    """The journey took longer than `max_age`."""
    MALFORMED_RECORD = "malformed_record"
    """A line of a source message is not a JSON object, or is one that Python cannot read and write unchanged, or the
    message is not in the format of the source."""
    MALFORMED_ENVELOPE = "malformed_envelope"
    """A message on an inner topic is not an envelope."""
    TOO_LARGE = "too_large"
    """The record does not fit into a message."""
    INTERNAL_ERROR = "internal_error"
    """A defect of Metroline; the worker's log has the traceback."""


@dataclass(frozen=True, slots=True)
class ServiceError:
    """An exception that a service raised."""

    type: str
    """Name of the exception's class."""
    text: str
    place: str = ""
    """Last frame in the author's own code, as `file.py:17 in function`; empty if there is none."""

    def __str__(self) -> str:
        return f"{self.type}: {self.text}" + (f" ({self.place})" if self.place else "")


@dataclass(frozen=True, slots=True)
class Outcome:
    """The end of a journey."""

    ending: Ending
    cause: Cause | None = None
    """The cause of a dead letter; None for the other endings."""
    detail: str = ""
    """The reason of a drop, the details of a dead letter's cause, or the end at which a record was delivered unless it
    is the default one; at most `MAX_DETAIL_CHARACTERS` long."""
    rule: str | None = None
    """Name of the rule that decided the outcome, if a rule did."""
    error: ServiceError | None = None
    """The exception of the service, if one ended the journey."""

    @classmethod
    def delivered(cls, end: str, rule: str | None = None) -> Outcome:
        """Return the outcome of a record that a rule delivered at the end with this name."""
        return cls(Ending.DELIVERED, None, "" if end == END else end, rule)

    @classmethod
    def dropped(cls, reason: str, rule: str | None = None) -> Outcome:
        """Return the outcome of a record that a rule or a service dropped."""
        return cls(Ending.DROPPED, None, sendable(reason), rule)

    @classmethod
    def dead(cls, cause: Cause, detail: str = "", rule: str | None = None) -> Outcome:
        """Return the outcome of a dead letter."""
        return cls(Ending.DEAD, cause, sendable(detail), rule)

    @classmethod
    def raised(cls, error: ServiceError) -> Outcome:
        """Return the outcome of a record for which a service raised an exception."""
        return cls(Ending.DEAD, Cause.SERVICE_ERROR, error=error)

    @property
    def end(self) -> str | None:
        """The name of the end at which the record was delivered; None for the other endings."""
        return (self.detail or END) if self.ending is Ending.DELIVERED else None

    @property
    def reason(self) -> str | None:
        """The reason for display: the reason of a drop, or `cause: detail` of a dead letter.

        Of a delivered record it is the name of its end, and None for the default end.
        """
        if self.ending is Ending.DELIVERED:
            return self.detail or None
        if self.cause is None:
            return self.detail
        detail = self.detail if self.error is None else str(self.error)
        return f"{self.cause}: {detail}" if detail else str(self.cause)


DELIVERED = Outcome(Ending.DELIVERED)
"""The outcome of a record that reaches the default end."""
