"""One dead letter as an operator sees it, and its group."""

from __future__ import annotations

import re
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any

import orjson

from metroline.routing.errors import MetrolineError
from metroline.routing.journeys.dead_letters import MALFORMED_ORIGIN
from metroline.routing.journeys.settlement import offset_of
from metroline.routing.messages.envelope import Envelope
from metroline.routing.messages.metadata import Metadata
from metroline.routing.messages.record_ids import RecordId, id_text
from metroline.routing.outcome import Cause, Ending, Outcome

VARIOUS = (Cause.MALFORMED_RECORD, Cause.UNROUTABLE, Cause.NOT_ENCODABLE, Cause.SCHEMA)
"""Causes that have several reasons, each with a remedy of its own."""

DETAIL = re.compile(r"(?<![\w-])\d+|'[^']*'|\"[^\"]*\"")
"""The parts of a reason by which records with the same mistake differ."""

MAX_REASON = 100
"""Number of characters of a reason by which letters are grouped."""


class DeadLetterError(MetrolineError):
    """Raised when a dead letter cannot be found, or cannot be replayed or discarded."""


@dataclass(frozen=True, slots=True)
class Letter:
    """One dead letter: an envelope with one record, and the time when it was settled (seconds since the epoch)."""

    envelope: Envelope
    settled: float
    topic: str = ""
    """The topic in which the record entered, or in which a message that is not an envelope was found."""

    @property
    def id(self) -> str:
        return id_text(self.envelope.origin, self.record_id)

    @property
    def record_id(self) -> RecordId:
        return self.envelope.segments[0].ids[0]

    @property
    def line(self) -> bytes:
        """The record as a line of JSON."""
        return self.envelope.segments[0].lines[0]

    @property
    def reason(self) -> str:
        outcome = self.envelope.segments[0].outcome
        return (outcome and outcome.reason) or ""

    @property
    def cause(self) -> tuple[str, ...]:
        """The stop, the kind, and what else tells one cause from another. Letters are grouped by it.

        That is the type and the place of an exception that a service raised, the rule with an error, or, for the
        causes in `VARIOUS`, the reason without its numbers and quotations.
        """
        segment = self.envelope.segments[0]
        outcome = segment.outcome or Outcome(Ending.DEAD)
        cause = (segment.last_stop, outcome.cause or "")
        if outcome.error is not None:
            return (*cause, outcome.error.type, outcome.error.place)
        if outcome.cause is Cause.RULE_ERROR:
            return (*cause, outcome.rule or "")
        if outcome.cause in VARIOUS:
            return (*cause, DETAIL.sub("…", self.reason.removeprefix(f"{outcome.cause}: "))[:MAX_REASON])
        return cause

    @property
    def group(self) -> str:
        """The id of the letter's group: six hexadecimal digits."""
        return blake2b("\0".join(self.cause).encode(), digest_size=3).hexdigest()

    @property
    def is_replayable(self) -> bool:
        """True if the letter is a record. A message that was not an envelope is not one."""
        return not self.envelope.origin.name.startswith(MALFORMED_ORIGIN)

    @property
    def is_cut(self) -> bool:
        """True if the letter keeps only a part of bytes that were not a record, or were too large."""
        try:
            record = orjson.loads(self.line)
        except orjson.JSONDecodeError:  # somebody else wrote the letter: ours are JSON
            return False
        return isinstance(record, dict) and record.keys() == {"raw"}

    @property
    def is_raw_source_message(self) -> bool:
        """True if the letter keeps a message of the source, or a line of one, that could not be read as a record."""
        outcome = self.envelope.segments[0].outcome
        is_malformed = outcome is not None and outcome.cause is Cause.MALFORMED_RECORD
        return is_malformed and self.is_replayable and self.is_cut

    def as_json(self) -> dict[str, Any]:
        """Return everything that is known about the letter."""
        segment = self.envelope.segments[0]
        metadata = segment.metadata or Metadata()
        return {
            "id": self.id,
            "group": self.group,
            "topic": self.topic,
            "partition": self.envelope.origin.partition,
            "offset": offset_of(self.record_id),
            "reason": self.reason,
            "rule": segment.outcome and segment.outcome.rule,
            "settled": self.settled,
            "entered": segment.entered,
            "strategy": self.envelope.strategy,
            "generation": segment.generation,
            "bus_hops": segment.hops,
            "stops": [visit._asdict() for visit in segment.history],
            "attempts": list(segment.attempts.causes) if segment.attempts else [],
            "tracebacks": [trace.splitlines() for trace in segment.attempts.traces] if segment.attempts else [],
            "waits": segment.waits and segment.waits._asdict(),
            "waited": [waits._asdict() for waits in segment.waited],
            "tried_at": list(segment.attempts.times) if segment.attempts else [],
            "retried": [
                {"stop": one.stop, "attempts": list(one.causes), "tried_at": list(one.times)} for one in segment.retried
            ],
            "replans": [{"stop": replan.stop, "fields": list(replan.fields)} for replan in segment.replans],
            "replays": [replay._asdict() for replay in segment.replays],
            "record": orjson.loads(self.line),
            "key": _shown(metadata.key_of(0)),
            "headers": [[name, _shown(value)] for name, value in metadata.headers_of(0)],
        }


@dataclass(frozen=True, slots=True)
class Group:
    """Dead letters with the same cause."""

    id: str
    cause: tuple[str, ...]
    reason: str
    """Reason of one of them."""
    count: int
    first: float
    """Time of the first settlement, in seconds since the epoch."""
    last: float
    example: str
    """Id of the first one."""

    def as_json(self) -> dict[str, Any]:
        stop, kind, *more = self.cause
        return {
            "group": self.id,
            "stop": stop,
            "kind": kind,
            "where": " at ".join(filter(None, more)),
            "count": self.count,
            "first": self.first,
            "last": self.last,
            "example": self.example,
            "reason": self.reason,
        }


def _shown(value: bytes | None) -> str | None:
    """Return a key or the value of a header as text."""
    return None if value is None else value.decode(errors="replace")
