"""Answers: what a service made of the records of a segment becomes ends, further attempts and next steps."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from metroline.routing.errors import MalformedRecord
from metroline.routing.journeys.departures import Departures
from metroline.routing.journeys.retry_policy import RetryPolicy
from metroline.routing.messages.itinerary import Decision, NextStep
from metroline.routing.messages.segment import Attempts, Segment
from metroline.routing.outcome import Cause, Drop, Outcome, Retry
from metroline.routing.records.field_sets import NOTHING, FieldSet, union
from metroline.routing.records.fingerprints import as_sent, have_changed
from metroline.routing.records.service_view import Opened, ServiceView
from metroline.routing.service_errors import describe_error
from metroline.routing.strategies import RuleTables, Strategy

MAX_WAIT_SECONDS = 30 * 24 * 3600.0
"""The longest wait that a service may ask for."""


@dataclass(frozen=True, slots=True)
class StopPolicy:
    """What one stop does with records that fail or come too late."""

    stop: str
    retries: RetryPolicy
    no_retry: tuple[type[BaseException], ...] = ()
    """Exceptions after which a record is not tried again."""
    reads: FieldSet = None
    """The fields that the service is handed; None for the whole record."""
    max_age: float | None = None
    """Seconds that a journey may take; None for no bound."""

    def hint(self, error: BaseException) -> str:
        """Return what explains a KeyError for a field that the service was not handed, or an empty text."""
        missed = error.args[0] if isinstance(error, KeyError) and error.args else None
        if self.reads is None or type(missed) is not str or missed in self.reads:
            return ""
        return f"; reads= hands it {', '.join(sorted(self.reads)) or 'nothing'}"


@dataclass(frozen=True, slots=True)
class Failure:
    """Why an attempt failed, as the outcome that it becomes after the last one."""

    outcome: Outcome
    wait: float = 0.0
    """Seconds until the next attempt, if the service asked for a certain wait."""


ViewOf = Callable[[FieldSet], ServiceView]
"""Returns the service's view of records of which the given fields must stay known."""


class Answers:
    """The answers of a service for the records of one segment, by their places in it.

    For each record `open` it, call the service with what it is handed, and report what came of it with one of
    `returned`, `raised` and `timed_out`.
    """

    def __init__(
        self, stop: str, segment: Segment, view_of: ViewOf, strategy: Strategy, rule_tables: RuleTables
    ) -> None:
        """Begin without any answer; the records leave by the tables that are given here."""
        self.segment = segment
        self.strategy = strategy
        self.rule_tables = rule_tables
        self.plan_fields = strategy.plan_fields(segment.itinerary)
        """The fields that the plan ahead was built on."""
        self.needed_fields = union([self.plan_fields, strategy.reader(rule_tables, stop).reads])
        """All fields on which the next step depends."""
        self.view = view_of(self.needed_fields)
        self.lines: list[bytes] = list(segment.lines)
        self.ends: dict[int, Outcome] = {}
        """The outcomes of records that do not go on."""
        self.failures: dict[int, Failure] = {}
        """Records that may be tried again."""
        self.before: list[dict[str, Any]] = [{}] * len(segment.lines)
        """The plan fields of each record as it came."""
        self.after: list[dict[str, Any]] = [{}] * len(segment.lines)
        """The needed fields of each record as the service left it."""
        self.taken = 0
        """Records, counted from the first one, that were handled in time."""

    def __len__(self) -> int:
        return len(self.lines)

    def open_all(self, count: int) -> list[Opened]:
        """Return the next `count` records; raise `MalformedRecord` where any of their lines is no record."""
        return self.view.open_all(self.lines[self.taken : self.taken + count])

    def open(self, place: int) -> Opened | None:
        """Return what is known of a record and what the service is handed of it, for this attempt alone.

        Return None for a line that is no record: its journey ends.
        """
        try:
            return self.view.open(self.lines[place])
        except MalformedRecord as error:
            self.ends[place] = Outcome.dead(Cause.MALFORMED_RECORD, str(error))
            return None

    def note_plan_fields(self, place: int, known: dict[str, Any]) -> None:
        """Keep the plan fields of a record as it came: services change records in place."""
        if self.plan_fields != NOTHING:
            self.before[place] = as_sent(known, self.plan_fields)

    def returned(self, place: int, known: dict[str, Any], result: Any) -> None:
        """Take what the service returned, as it is now: a service may keep the record and change it later."""
        if not isinstance(result, dict):
            if isinstance(result, Retry) and _is_wait(result.after):
                self.failures[place] = Failure(Outcome.dead(Cause.RETRIES_EXHAUSTED, result.reason), result.after)
            else:
                self.ends[place] = _verdict(result)
            return
        try:
            self.lines[place] = self.view.close(self.lines[place], known, result)
        except TypeError as error:  # orjson.JSONEncodeError is one
            self.ends[place] = Outcome.dead(Cause.NOT_ENCODABLE, str(error))
            return
        except MalformedRecord as error:
            self.ends[place] = Outcome.dead(Cause.MALFORMED_RECORD, str(error))
            return
        if self.needed_fields != NOTHING:
            self.after[place] = as_sent(self.view.left(known, result), self.needed_fields)

    def raised(self, place: int, error: BaseException, policy: StopPolicy) -> None:
        """Take an exception of the service; its record is tried again unless the policy says otherwise."""
        outcome = Outcome.raised(describe_error(error, policy.hint(error)))
        if isinstance(error, policy.no_retry):
            self.ends[place] = outcome
        else:
            self.failures[place] = Failure(outcome)

    def timed_out(self, place: int, seconds: float) -> None:
        """Note that the service did not answer within so many seconds."""
        self.failures[place] = Failure(Outcome.dead(Cause.TIMEOUT, f"no answer within {seconds:g} s"))

    def again(self, place: int, policy: StopPolicy, now: float, jitter: Callable[[], float]) -> Segment | None:
        """Return the record alone, with its attempts, and forget its failure; None unless it is to be tried again."""
        failure = self.failures.get(place)
        if failure is None:
            return None
        segment = self.segment.part([place])
        attempts, wait = _next_attempt(failure, segment, policy, now, jitter)
        if wait is None:
            return None
        del self.failures[place]
        return replace(segment, attempts=attempts)


def admit(departures: Departures, segment: Segment, policy: StopPolicy, now: float) -> bool:
    """Return whether the journey of a segment may go on; end it as expired otherwise."""
    age = now - segment.entered
    if policy.max_age is None or age <= policy.max_age:
        return True
    outcome = Outcome.dead(Cause.EXPIRED, f"{age:.0f} s old, {policy.max_age:g} are allowed")
    departures.add(segment, _end(outcome).hop(policy.stop))
    return False


def depart(
    departures: Departures,
    answers: Answers,
    policy: StopPolicy,
    now: float,
    jitter: Callable[[], float],
    *,
    held: Collection[int] = (),
) -> None:
    """Add the records of a segment that leave the stop, each in the direction of its answer.

    Records that were not reached go back to the stop, failed ones to their next attempt or to the dead letters; those
    at the places `held` stay. `now` is in seconds since the epoch, and `jitter` draws a number from 0 to 1.
    """
    segment, stop, every = answers.segment, policy.stop, len(answers)
    if answers.taken < every:
        departures.send_back(segment.part(range(answers.taken, every)), stop)
    for failure, failed in _alike(answers.failures):
        _depart_failed(departures, failure, segment.part(failed), policy, now, jitter)
    places: Sequence[int] = range(answers.taken)
    if answers.failures or held:
        places = [place for place in places if place not in answers.failures and place not in held]
    if places:
        handled = segment.part(places).visited(stop, now)
        lines = tuple(answers.lines if len(places) == every else [answers.lines[place] for place in places])
        next_steps = _next_steps(answers, places, stop)
        departures.add_each(replace(handled, lines=lines), next_steps, stop)


def _depart_failed(
    departures: Departures,
    failure: Failure,
    segment: Segment,
    policy: StopPolicy,
    now: float,
    jitter: Callable[[], float],
) -> None:
    """Send records that failed alike to another attempt or, after the last one, to the dead letters."""
    attempts, wait = _next_attempt(failure, segment, policy, now, jitter)
    if wait is None:
        dead = replace(segment.visited(policy.stop, now), attempts=attempts)
        departures.add(dead, _end(failure.outcome).hop(policy.stop))
    else:
        departures.send_back(replace(segment, attempts=attempts), policy.stop, wait)


def _next_attempt(
    failure: Failure, segment: Segment, policy: StopPolicy, now: float, jitter: Callable[[], float]
) -> tuple[Attempts, float | None]:
    """Return all attempts so far with this one, and the seconds until the next; None after the last."""
    stop, before = policy.stop, segment.attempts
    earlier = before.causes if before is not None and before.stop == stop else ()
    causes = (*earlier, failure.outcome.reason or "")
    if len(causes) >= policy.retries.attempts:
        return Attempts(stop, causes, now), None
    wait = failure.wait or policy.retries.wait(len(causes), jitter())
    return Attempts(stop, causes, now + wait), wait


def _next_steps(answers: Answers, places: Sequence[int], stop: str) -> Sequence[NextStep]:
    """Return the next steps of the records at these places, which were handled."""
    if not answers.ends:
        return _leave(answers, places, stop)
    ends = {outcome: _end(outcome) for outcome in set(answers.ends.values())}  # records with equal ends stay together
    next_steps: dict[int, NextStep] = {place: ends[outcome] for place, outcome in answers.ends.items()}
    left = [place for place in places if place not in answers.ends]
    next_steps |= zip(left, _leave(answers, left, stop), strict=True)
    return [next_steps[place] for place in places]


def _leave(answers: Answers, places: Sequence[int], stop: str) -> Sequence[NextStep]:
    after = [answers.after[place] for place in places]
    changed = have_changed([answers.before[place] for place in places], after, answers.plan_fields)
    return answers.strategy.leave(answers.rule_tables, stop, after, answers.segment.itinerary, changed)


def _alike(failures: dict[int, Failure]) -> Iterator[tuple[Failure, list[int]]]:
    """Yield failures with the places of the records that failed alike, which wait together."""
    groups: dict[Failure, list[int]] = {}
    for place, failure in sorted(failures.items()):
        groups.setdefault(failure, []).append(place)
    yield from groups.items()


def _end(outcome: Outcome) -> Decision:
    """Return the end of a journey that the service itself decided."""
    return Decision(None, outcome, None, 0, NOTHING)


def _is_wait(seconds: Any) -> bool:
    return type(seconds) in (int, float) and 0 <= seconds <= MAX_WAIT_SECONDS


def _verdict(result: Any) -> Outcome:
    """Return the outcome that a service's answer stands for when it is not a record."""
    if isinstance(result, Drop):
        if not isinstance(result.reason, str):
            return Outcome.dead(Cause.BAD_RETURN, f"Drop({result.reason!r}): a reason is a text")
        return Outcome.dropped(result.reason)
    if isinstance(result, Retry):
        limit = f"0 to {MAX_WAIT_SECONDS:.0f} s are allowed"
        return Outcome.dead(Cause.BAD_RETURN, f"Retry(after={result.after!r}): {limit}")
    return Outcome.dead(Cause.BAD_RETURN, f"{type(result).__name__}, not a dict, Drop or Retry")
