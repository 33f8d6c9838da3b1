"""The timeline of a journey: each place, how long the record waited and was worked on there, and what sent it on.

The history holds times, rules and versions. What a rule read is found by deciding again, with the table of that version
and the record as it is known: as it entered, and as it was at its end. Between the two it is known only in part.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from enum import StrEnum
from itertools import islice
from typing import Any, TypeVar

import orjson
from msgspec import Struct, field

from metroline.routing.addresses import MAP_MAKER, SOURCE, SWITCH
from metroline.routing.messages.envelope import Envelope
from metroline.routing.messages.itinerary import Provenance
from metroline.routing.messages.metadata import NO_TIMESTAMP, Metadata
from metroline.routing.messages.record_ids import id_text
from metroline.routing.messages.segment import Attempts, Replan, Segment, Waits
from metroline.routing.outcome import Cause, Ending, Outcome
from metroline.routing.rules.explain import Trial, trials
from metroline.routing.rules.rule_meta import NO_META, rule_metas
from metroline.routing.rules.stop_rules import StopRules
from metroline.routing.rules.table import RulesTable

MAX_TRIED = 20
"""Number of rules that are shown for a decision: the one that held, and those before it."""

MAX_RULES = 20_000
"""Number of rules that are tried, at most, to find them."""

DECIDED_BY_RULES = (Cause.RULE_ERROR, Cause.UNROUTABLE)
"""Causes of dead letters that rules decide."""

NOBODY = Provenance(None, "", 0)

Entry = TypeVar("Entry", Attempts, Waits)

TableOf = Callable[[int], RulesTable | None]
"""Returns the rules table of a version, and for 0 that of the line's file; None if it is not known."""


class Certainty(StrEnum):
    """The certainty of the values that the rules of a decision read."""

    EXACT = "exact"
    """The record is known as it was then."""
    UNCHANGED = "unchanged"
    """Every value is the same in the record as it entered and at its end."""
    LATER = "later"
    """The values are those at the end of the journey, with which the same rule holds."""
    CHANGED = "changed"
    """With the values at the end of the journey another rule holds, so services behind the decision changed them."""
    UNKNOWN = "unknown"
    """The table of that version, or the record, is not known any more."""
    NONE = "none"
    """The rules did not decide."""


class Tried(Struct, frozen=True):
    """A rule that was tried, with the values that it read as JSON, by name."""

    rule: str
    holds: bool
    verdict: str
    read: dict[str, str]


class Decided(Struct, frozen=True):
    """The decision behind a place: who made it, by which rule and version, and the values that rules read."""

    to: str
    """The next stop, or the outcome."""
    by: str | None
    rule: str | None
    version: int | None
    """Version of the rules table; 0 for the line's file, None if no table was asked."""
    certainty: Certainty
    tried: list[Tried] = []
    more_tried: int = 0
    """Number of rules that were tried before these."""


class FailedAttempt(Struct, frozen=True):
    """A failed attempt: when it failed (seconds since the epoch; None if not known), and the calls of its exception."""

    at: float | None
    cause: str
    calls: list[str] = []


class Waited(Struct, frozen=True):
    """Waits that a service asked for: when the first began, in seconds since the epoch, and how many there were."""

    since: float
    times: int


class Passage(Struct, frozen=True):
    """A place of a journey. Times are in seconds since the epoch, durations in seconds; None is unknown."""

    place: str
    came: float | None
    """When the record was sent here: when it left the place before or, for the source, the time of its message."""
    left: float
    waited: float | None
    """From `came` to the (last) call of the service, with failed attempts and waits between them."""
    worked: float | None
    """From this call to `left`, together with the records that left with it."""
    decided: Decided
    attempts: list[FailedAttempt] = []
    waits: Waited | None = None
    replanned: list[str] | None = None
    """The fields of the plan that the stop changed, so that the plan was made anew; None if it was not."""


class Replayed(Struct, frozen=True):
    """A replay before this journey: when, by whom, and the reason for which the record was dead."""

    at: float
    by: str
    reason: str
    was_edited: bool


class Timeline(Struct, frozen=True):
    """A journey. Times are in seconds since the epoch, durations in seconds."""

    id: str
    strategy: str
    outcome: str
    reason: str | None
    entered: float
    ended: float
    seconds: float
    """From `entered` to `ended`."""
    generation: int
    """Number of times that the record was a dead letter before and was replayed."""
    bus_hops: int
    places: list[Passage]
    record: Any
    """The record at its end."""
    is_cut: bool
    """True if only the beginning of the record was kept."""
    key: str | None = None
    headers: list[tuple[str, str | None]] = []
    replays: list[Replayed] = field(default_factory=list)


def timeline(journey: Envelope, ended: float, table_of: TableOf, entered_as: bytes | None = None) -> Timeline:
    """Return the timeline of the only record of an envelope, whose journey ended at a time in seconds since the epoch.

    `entered_as` is the record as it entered, as a line of JSON, if that is known.
    """
    [segment] = journey.segments
    outcome = segment.outcome or Outcome(Ending.DEAD)
    metadata = segment.metadata or Metadata()
    record, is_cut = _content(segment.lines[0])
    return Timeline(
        id_text(journey.origin, segment.ids[0]),
        journey.strategy,
        outcome.ending.value,
        outcome.reason,
        segment.entered,
        ended,
        round(max(0.0, ended - segment.entered), 6),
        segment.generation,
        segment.hops,
        list(_Passages(segment, outcome, table_of, None if segment.replays else entered_as).all()),
        record,
        is_cut,
        _text(metadata.key_of(0)),
        [(name, _text(value)) for name, value in metadata.headers_of(0)],
        [Replayed(one.at, one.by, one.reason, one.before is not None) for one in segment.replays],
    )


class _Passages:
    """Makes the places of a journey from its history."""

    def __init__(self, segment: Segment, outcome: Outcome, table_of: TableOf, entered_as: bytes | None) -> None:
        self.segment = segment
        self.outcome = outcome
        self.table_of = table_of
        self.first = None if entered_as is None else _record(entered_as)
        self.last = _record(segment.lines[0])
        self.visits = segment.history
        self.last_known = len(self.visits) if self._is_ruled else len(self.visits) - 1
        """The place, from 0 for the source, behind which the record was as it is at its end."""
        attempts = [*segment.retried, *([segment.attempts] if segment.attempts else [])]
        self.attempts = _by_stop([one for one in attempts if one.causes])
        self.waits = _by_stop([*segment.waited, *([segment.waits] if segment.waits else [])])
        self.replans = _by_stop(segment.replans)

    @property
    def _is_ruled(self) -> bool:
        """True if the rules decided the outcome; otherwise the service of the last stop did, or nobody."""
        outcome = self.outcome
        if outcome.ending is Ending.DEAD:
            return outcome.cause in DECIDED_BY_RULES
        return outcome.ending is Ending.DELIVERED or outcome.rule is not None

    def all(self) -> Iterator[Passage]:
        segment = self.segment
        sent = (segment.metadata or Metadata()).timestamp_of(0)
        came = None if sent == NO_TIMESTAMP or segment.generation else sent / 1_000
        waited = None if came is None else round(max(0.0, segment.entered - came), 6)
        yield Passage(SOURCE, came, segment.entered, waited, None, self._decided(0))
        before = segment.entered
        for place, visit in enumerate(self.visits, 1):
            waited = None if visit.worked is None else round(max(0.0, visit.at - visit.worked - before), 6)
            attempts = self._until(visit.at, self.attempts.get(visit.stop), lambda one: max(one.times, default=0.0))
            waits = self._until(visit.at, self.waits.get(visit.stop), lambda one: one.since)
            yield Passage(
                visit.stop,
                before,
                visit.at,
                waited,
                visit.worked,
                self._decided(place),
                [] if attempts is None else _failed(attempts),
                None if waits is None else Waited(waits.since, waits.times),
                self._replanned(place),
            )
            before = visit.at

    def _until(self, left: float, entries: list[Entry] | None, time_of: Callable[[Entry], float]) -> Entry | None:
        """Return the next entry of a stop if it is of a time before the record left it; the stop may come again."""
        return entries.pop(0) if entries and time_of(entries[0]) <= left else None

    def _replanned(self, place: int) -> list[str] | None:
        """Return the fields that a stop changed so that the switch planned anew; None if it did not."""
        decider = self.visits[place].by if place < len(self.visits) else (self.segment.chosen or NOBODY).by
        replans = self.replans.get(self.visits[place - 1].stop)
        return list(replans.pop(0).fields) if replans and decider == SWITCH else None

    def _decided(self, place: int) -> Decided:
        """Return what was decided behind a place, from 0 for the source."""
        if place < len(self.visits):
            visit = self.visits[place]
            chosen, to = Provenance(visit.rule, visit.by, visit.version), visit.stop
            is_ruled = visit.rule is not None  # a replay may name the stop
        else:
            own = self.segment.chosen or NOBODY
            chosen = Provenance(self.outcome.rule, own.by, own.version)
            to, is_ruled = _told(self.outcome), self._is_ruled
        if not is_ruled:
            return Decided(to, chosen.by or None, None, None, Certainty.NONE)
        found = self._tried(place, chosen)
        if found is None:
            return Decided(to, chosen.by, chosen.rule, chosen.version, Certainty.UNKNOWN)
        certainty, tried = found
        shown = [] if certainty is Certainty.CHANGED else tried[-MAX_TRIED:]
        more = 0 if certainty is Certainty.CHANGED else len(tried) - len(shown)
        told = [Tried(one.rule, one.holds, one.verdict, one.read) for one in shown]
        return Decided(to, chosen.by, chosen.rule, chosen.version, certainty, told, more)

    def _tried(self, place: int, chosen: Provenance) -> tuple[Certainty, list[Trial]] | None:
        """Return the rules that were tried for a decision; None if that cannot be found out."""
        table = self.table_of(chosen.version)
        if table is None:
            return None
        rules = table.stop_rules(self.visits[place - 1].stop if place else SOURCE)
        known = self._known(place, chosen)
        if known is not None:
            tried = self._trials(rules, known)
            return (Certainty.EXACT, tried) if _held(tried) == chosen.rule else None
        if self.last is None:
            return None
        tried = self._trials(rules, self.last)
        if _held(tried) != chosen.rule:
            return Certainty.CHANGED, []
        if self.first is not None and tried == self._trials(rules, self.first):
            return Certainty.UNCHANGED, tried
        return Certainty.LATER, tried

    def _known(self, place: int, chosen: Provenance) -> dict[str, Any] | None:
        """Return the record with which a decision was made, if that is known.

        The map maker plans with the record as it entered. As long as a plan is followed, the fields that it read stay
        as they were.
        """
        if place >= self.last_known:
            return self.last
        return self.first if place == 0 or chosen.by == MAP_MAKER else None

    def _trials(self, rules: StopRules, record: dict[str, Any]) -> list[Trial]:
        segment = self.segment
        metas = rule_metas(segment.metadata, segment.entered, 1, rules.meta)
        return list(islice(trials(rules, record, NO_META if metas is None else metas[0]), MAX_RULES))


def _held(tried: Sequence[Trial]) -> str | None:
    """Return the name of the rule that decided: the one that held, or that could not be evaluated."""
    last = tried[-1] if tried else None
    return last.rule if last is not None and (last.holds or last.verdict.startswith(Cause.RULE_ERROR)) else None


def _failed(attempts: Attempts) -> list[FailedAttempt]:
    missing = len(attempts.causes) - len(attempts.times)
    times = [*[0.0] * missing, *attempts.times]
    calls = [*attempts.traces, *[""] * (len(attempts.causes) - len(attempts.traces))]
    return [
        FailedAttempt(at or None, cause, trace.splitlines())
        for at, cause, trace in zip(times, attempts.causes, calls, strict=False)
    ]


AtStop = TypeVar("AtStop", Attempts, Waits, Replan)


def _by_stop(entries: Sequence[AtStop]) -> dict[str, list[AtStop]]:
    found: dict[str, list[AtStop]] = {}
    for entry in entries:
        found.setdefault(entry.stop, []).append(entry)
    return found


def _told(outcome: Outcome) -> str:
    between = " at " if outcome.ending is Ending.DELIVERED else ": "
    return f"{outcome.ending}{between}{outcome.reason}" if outcome.reason else str(outcome.ending)


def _record(line: bytes) -> dict[str, Any] | None:
    content, is_cut = _content(line)
    return content if isinstance(content, dict) and not is_cut else None


def _content(line: bytes) -> tuple[Any, bool]:
    """Return the record in a line, and whether it is only what was kept of bytes that were too large or no record."""
    try:
        content = orjson.loads(line)
    except ValueError:
        return line.decode(errors="replace"), True
    is_cut = isinstance(content, dict) and content.keys() == {"raw"} and isinstance(content["raw"], dict)
    return content, is_cut


def _text(value: bytes | None) -> str | None:
    return None if value is None else value.decode(errors="replace")
