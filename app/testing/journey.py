"""A journey as a test sees it: the stops of a record, its outcome, and its content at the end."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from metroline.app.markup.text import escaped, shorten
from metroline.app.operations.rehearsal import Passage
from metroline.routing.addresses import END, SOURCE
from metroline.routing.messages.record_ids import Origin, id_text
from metroline.routing.outcome import Ending
from metroline.routing.records.fingerprints import fingerprint
from metroline.routing.rules.explain import shown

SHOWN_CHARACTERS = 200
"""Maximum number of characters of a record or a reason that are shown in a line."""

SHOWN_WAITS = 3
"""Maximum number of waits at a stop that are shown."""

Record = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Visited:
    """A visited stop, and the decision that led there."""

    stop: str
    rule: str | None
    """Name of the rule that chose the stop."""
    by: str
    """The decider: `on-ramp`, `conductor`, `map-maker`, `switch`, or the stop before."""
    at: float
    """Time at which the service had handled the record, in seconds since the epoch."""
    attempts: tuple[str, ...]
    """The failed attempts at the stop, each with its number and its cause."""
    waits: tuple[str, ...]
    """The waits that the service asked for with `Wait`, each with its length and its end."""
    record: Record
    """The record as it left the stop."""


@dataclass(frozen=True, slots=True, repr=False)
class Journey:
    """The journey of one record through a line."""

    id: str
    """The id of the record, as its services received it."""
    strategy: str
    given: Record
    """The record as it came in. What is no record is here as a dead letter keeps it, in the field `raw`."""
    stops: list[str]
    """The stops visited, in order."""
    outcome: str
    """`delivered`, `dropped` or `dead`."""
    reason: str | None
    """The reason of a drop, or the cause of a dead letter with its details; None if the record was delivered."""
    cause: str | None
    """The cause of a dead letter alone, as `service_error`; None for the other outcomes."""
    end: str | None
    """Name of the end at which the record was delivered, as `end`; None for the other outcomes."""
    rule: str | None
    """Name of the rule that decided the outcome, if a rule did."""
    record: Record
    """The record at the end. A record that was dropped by a service or is dead is the one that came to its stop."""
    history: list[Visited]
    waited: float
    """Time that the record would have waited for further attempts, in seconds: none of it passed for real."""
    error: BaseException | None
    """The exception of the service that ended the journey, if one did."""

    @property
    def changes(self) -> Record:
        """The top-level fields that the line added or changed, with their values at the end."""
        return changed(self.given, self.record)

    @property
    def removes(self) -> list[str]:
        """Names of the top-level fields that the line removed."""
        return [name for name in self.given if name not in self.record]

    @property
    def ending(self) -> str:
        """The outcome with its reason, or with the end if that is not the default one."""
        if self.outcome == Ending.DELIVERED:
            return self.outcome if self.end == END else f"{self.outcome} at {self.end}"
        return f"{self.outcome}: {shorten(self.reason or '', SHOWN_CHARACTERS)}"

    def __repr__(self) -> str:
        """Return the stops and the outcome in one line: pytest shows it where an assertion fails."""
        return f"<Journey {' → '.join([SOURCE, *self.stops])} → {escaped(self.ending)}>"

    def __str__(self) -> str:
        """Return the journey step by step, over several lines."""
        return "\n".join(self._lines())

    def _lines(self) -> Iterator[str]:
        width = max(map(len, [SOURCE, *self.stops]))
        yield f"record {_brief(self.given)}, by {self.strategy}"
        after, before = SOURCE, self.given
        for visit in self.history:
            yield f"{after:<{width}} → {visit.stop}  ({visit.rule})"
            yield from (f"{'':<{width}}   {escaped(attempt)}" for attempt in visit.attempts)
            yield from (f"{'':<{width}}   {change}" for change in _told(before, visit.record))
            yield from (f"{'':<{width}}   {wait}" for wait in visit.waits[:SHOWN_WAITS])
            if (more := len(visit.waits) - SHOWN_WAITS) > 0:
                yield f"{'':<{width}}   waits {more} more times"
            after, before = visit.stop, visit.record
        decided = f"  ({self.rule})" if self.rule else ""
        yield f"{after:<{width}} → {escaped(self.ending)}{decided}"


def changed(before: Record, after: Record) -> Record:
    """Return the fields of a record that it did not have before, or not with these values."""
    return {
        name: value
        for name, value in after.items()
        if name not in before or fingerprint(value) != fingerprint(before[name])
    }


def _told(before: Record, after: Record) -> Iterator[str]:
    """Yield a line for the fields that a stop set, and one for those that it removed."""
    if sets := changed(before, after):
        yield "sets " + ", ".join(f"{escaped(name)}={escaped(shown(value))}" for name, value in sets.items())
    if removed := [name for name in before if name not in after]:
        yield f"removes {', '.join(map(escaped, removed))}"


def _brief(record: Record) -> str:
    return shorten(escaped(orjson.dumps(record).decode()), SHOWN_CHARACTERS)


def journey_of(strategy: str, origin: Origin, passages: Sequence[Passage], waited: float) -> Journey:
    """Return the journey that consists of these passages, from the source to an outcome.

    `waited` is the time that the record would have waited, in seconds.
    """
    end = passages[-1].segment
    outcome = end.outcome
    assert outcome is not None
    history = [
        Visited(
            visit.stop,
            visit.rule,
            visit.by,
            visit.at,
            passage.attempts,
            passage.waits,
            record_in(passage.segment.lines[0]),
        )
        for visit, passage in zip(end.history, passages[1:], strict=False)
    ]
    is_delivered = outcome.ending is Ending.DELIVERED
    errors = passages[-1].errors
    return Journey(
        id_text(origin, end.ids[0]),
        strategy,
        record_in(passages[0].segment.lines[0]),
        list(end.stops),
        outcome.ending.value,
        None if is_delivered else outcome.reason,
        None if outcome.cause is None else outcome.cause.value,
        outcome.end,
        outcome.rule,
        record_in(end.lines[0]),
        history,
        waited,
        errors[-1] if outcome.error is not None and errors else None,
    )


def record_in(line: bytes) -> Record:
    """Return the record in a line; an empty one if the line is no record."""
    try:
        record = orjson.loads(line)
    except orjson.JSONDecodeError:
        return {}
    return record if type(record) is dict else {}
