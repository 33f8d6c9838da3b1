"""Answers of a service, turned into outcomes, further attempts and next steps."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from metroline.routing.errors import MalformedRecord, SchemaMismatch
from metroline.routing.foreign_values import is_of, name_of_type, plain_dict, shown, text_of
from metroline.routing.journeys.chunks import Clock, at_once, in_chunks
from metroline.routing.journeys.departures import Departures
from metroline.routing.journeys.planned_waits import AGAIN, PlannedWait, send_waiting, waits_on
from metroline.routing.journeys.requested_waits import (
    MIN_WAIT_SECONDS,
    WaitRequest,
    time_of,
    wait_problem,
    with_wait,
)
from metroline.routing.journeys.retry_policy import RetryPolicy
from metroline.routing.messages.itinerary import Decider, Decision, NextStep
from metroline.routing.messages.segment import Attempts, Replan, Segment
from metroline.routing.outcome import MAX_DETAIL_CHARACTERS, Cause, DeliveredAt, Drop, Outcome, Retry, Wait
from metroline.routing.records import unencodable
from metroline.routing.records.field_sets import NOTHING, FieldSet, union
from metroline.routing.records.fingerprints import as_sent, changed_fields, have_changed
from metroline.routing.records.record_types import DeclaredTypes
from metroline.routing.records.service_view import Opened, ServiceView
from metroline.routing.rules.rule_meta import rule_metas
from metroline.routing.service_errors import describe_error, trace_of
from metroline.routing.strategies import Leaving, RuleTables, Strategy


@dataclass(frozen=True, slots=True)
class StopPolicy:
    """The policy of one stop for records that fail or arrive too late."""

    stop: str
    retries: RetryPolicy
    no_retry: tuple[type[BaseException], ...] = ()
    """Exceptions after which a record is not tried again."""
    reads: FieldSet = None
    """The fields that the service receives; None for the whole record."""
    max_age: float | None = None
    """Maximum duration of a journey, in seconds; None for no limit."""
    deadline: float | None = None
    """Maximum age of a record that the service takes, in seconds since it entered; None for no limit."""

    @property
    def max_age_here(self) -> float | None:
        """The maximum age of a record that the service takes, in seconds; None for no limit."""
        return min((age for age in (self.max_age, self.deadline) if age is not None), default=None)

    def hint(self, error: BaseException) -> str:
        """Return an explanation of a KeyError for a field that the service does not receive, or an empty string."""
        args = BaseException.__dict__["args"].__get__(error)
        missed = args[0] if is_of(error, KeyError) and args else None
        if self.reads is None or type(missed) is not str or missed in self.reads:
            return ""
        return f"; of the fields of the record, it receives {', '.join(sorted(self.reads)) or 'none'}"


class Failure(Struct, frozen=True):
    """A failed attempt, with the outcome that the record gets if no attempt is left."""

    outcome: Outcome
    request: WaitRequest | None = None
    """The wait that the service asked for; the record then waits and has not failed. None after a failed attempt."""
    trace: str = ""
    """The calls that led to the exception, one per line; empty if there was none."""
    is_final: bool = False
    """True if the record is not tried again."""


MAX_CAUSES_CHARACTERS = 8_000
"""Maximum number of characters that the causes of a record's attempts take together: they travel with the record."""

MAX_TRACES_CHARACTERS = 4_000
"""Maximum number of characters that the traces of a record's attempts take together."""

MAX_REPLAN_FIELDS = 20
"""Number of fields that are named as the reason of a new plan."""

MAX_REPLANS = 8
"""Number of segments into which records with stale plans are divided by the fields that the stop changed."""

ViewOf = Callable[[FieldSet], ServiceView]
"""Returns the service's view of records for which the values of the given fields must stay available."""


class Answers:
    """The answers of a service for the records of one segment, by the index of each record in the segment.

    For each record, call `open`, call the service with the record that `open` returns for it, and report the result
    with `returned`, `raised` or `timed_out`.
    """

    def __init__(
        self,
        stop: str,
        segment: Segment,
        view_of: ViewOf,
        strategy: Strategy,
        rule_tables: RuleTables,
        types: DeclaredTypes | None = None,
    ) -> None:
        """Start without answers. The records will leave by the strategy and the tables passed here.

        `types` are those that the service declares; None if it takes and returns dicts.
        """
        self.stop = stop
        self.segment = segment
        self.types = None if segment.is_handled else types  # a handled record is as its service returned it
        self.strategy = strategy
        self.rule_tables = rule_tables
        self.plan_fields = strategy.plan_fields(segment.itinerary)
        """The fields on which the rest of the itinerary depends."""
        reader = strategy.reader(rule_tables, stop)
        self.metas = rule_metas(segment.metadata, segment.entered, len(segment.ids), reader.meta)
        """The metadata of each record, if the next step depends on it."""
        self.needed_fields = union([self.plan_fields, reader.reads])
        """The fields on which the next step depends, `plan_fields` included."""
        self.view = view_of(self.needed_fields)
        self.lines: list[bytes] = list(segment.lines)
        self.ends: dict[int, Outcome] = {}
        """The outcomes of records whose journey ends here."""
        self.failures: dict[int, Failure] = {}
        """The failed attempts of records that may be tried again."""
        self.waits: dict[int, PlannedWait] = {}
        """The waits that the service asked for with `Wait`."""
        self.asked_waits = 0
        """Number of waits that the service asked for with `Wait` or with times of `Retry`."""
        self.before: list[dict[str, Any]] = [{}] * len(segment.lines)
        """The plan fields of each record as it arrived."""
        self.after: list[dict[str, Any]] = [{}] * len(segment.lines)
        """The needed fields of each record as the service left it."""
        self.taken = 0
        """Number of records, from the start of the segment, that were handled before the time was up."""
        self._began: float | None = None
        """Time at which the service was called for the first of the records, in seconds since the epoch."""
        self._began_at: dict[int, float] = {}
        """The time at which the service was called for each record that is handled by itself."""

    def __len__(self) -> int:
        return len(self.lines)

    def open_all(self, count: int) -> list[Opened]:
        """Return the next `count` records as `open` does; raise `MalformedRecord` if any line is not a record.

        Raise `SchemaMismatch` if any record does not fit the type that the service declares.
        """
        opened = self.view.open_all(self.lines[self.taken : self.taken + count])
        return opened if self.types is None else [(known, self.types.read(handed)) for known, handed in opened]

    def open(self, place: int) -> Opened | None:
        """Return the known fields of a record and the record to pass to the service, for this attempt only.

        Return None if the line is not a record; its journey then ends as `malformed_record`. A record that does not fit
        the type that the service declares ends as `schema`.
        """
        try:
            known, handed = self.view.open(self.lines[place])
            return (known, handed) if self.types is None else (known, self.types.read(handed))
        except MalformedRecord as error:
            self.ends[place] = Outcome.dead(Cause.MALFORMED_RECORD, str(error))
        except SchemaMismatch as error:
            self.ends[place] = Outcome.dead(Cause.SCHEMA, str(error))
        return None

    @property
    def is_retry(self) -> bool:
        """True if the service failed for these records before, at this stop."""
        attempts = self.segment.attempts
        return attempts is not None and bool(attempts.causes)

    def note_plan_fields(self, place: int, known: dict[str, Any]) -> None:
        """Copy the plan fields of a record before the service runs, since services change records in place."""
        if self.plan_fields != NOTHING:
            self.before[place] = as_sent(known, self.plan_fields)

    def returned(self, place: int, known: dict[str, Any], result: Any, handed: Any = None) -> None:
        """Store the value that the service returned; `handed` is the record that it received and may have changed.

        The value is encoded at once, since a service may keep the record and change it later. Whatever the methods of
        the value do, only this record ends.
        """
        try:
            if self.types is not None:
                result = self.types.written(result)
            if type(result) is dict:
                self._changed(place, known, result)
            elif is_of(result, dict):
                self._changed(place, known, plain_dict(result))
            elif is_of(result, Wait):
                self._waits(place, known, result, known if handed is None else handed)
            else:
                self._asked(place, result)
        except SchemaMismatch as error:
            self.ends[place] = Outcome.dead(Cause.SCHEMA, str(error))
        except BaseException as error:  # noqa: BLE001 - the author's types may raise anything
            cause = Cause.NOT_ENCODABLE if is_of(result, dict) else Cause.BAD_RETURN
            detail = f"{name_of_type(error)}: {text_of(error, MAX_DETAIL_CHARACTERS)}"
            self.ends[place] = Outcome.dead(cause, f"{name_of_type(result)} cannot be read: {detail}")

    def _asked(self, place: int, result: Any) -> None:
        """Store an answer that is no record."""
        problem = wait_problem(result) if is_of(result, Retry) else None
        if problem is not None:
            self.ends[place] = Outcome.dead(Cause.BAD_RETURN, problem)
        elif is_of(result, Retry):
            detail = "" if result.reason is None else text_of(result.reason, MAX_DETAIL_CHARACTERS)
            until = None if result.until is None else time_of(result.until)
            request = WaitRequest(detail, float(result.after), until) if result.after or until is not None else None
            self.asked_waits += request is not None
            self.failures[place] = Failure(Outcome.dead(Cause.RETRIES_EXHAUSTED, detail), request)
        else:
            self.ends[place] = _verdict(result)

    def _waits(self, place: int, known: dict[str, Any], asked: Wait, handed: Any) -> None:
        """Store a wait, and the record that waits."""
        record = asked.record
        if self.types is not None and record is not None:
            comes_back = type(asked.then) is str and asked.then == AGAIN
            record = self.types.written(record, comes_back=comes_back)
        plan = PlannedWait.of(asked, record)
        if isinstance(plan, str):
            self.ends[place] = Outcome.dead(Cause.BAD_RETURN, plan)
            return
        if plan.is_given:
            if record is None:
                record = handed if self.types is None else self.types.written(handed)
            self._changed(place, known, record if type(record) is dict else plain_dict(record))
        if place not in self.ends:
            self.waits[place] = plan
            self.asked_waits += 1

    def begin(self, now: float, place: int | None = None) -> None:
        """Note that the service is called now for the record at an index, by default for all one after the other."""
        if place is not None:
            self._began_at[place] = now
        elif self._began is None:
            self._began = now

    def worked(self, places: Sequence[int], now: float) -> float | None:
        """Return the seconds since the first call for the records at these indexes; None if there was none."""
        began = self._began
        if self._began_at:
            began = min((self._began_at[place] for place in places if place in self._began_at), default=began)
        return None if began is None else round(max(0.0, now - began), 6)

    def replan(self, places: Iterable[int]) -> Replan:
        """Return what made the plan of the records at these indexes stale."""
        fields = {
            name for place in places for name in changed_fields(self.before[place], self.after[place], self.plan_fields)
        }
        return Replan(self.stop, tuple(sorted(fields)[:MAX_REPLAN_FIELDS]))

    def is_stale(self, place: int) -> bool:
        """Return whether the service changed a plan field of a record that it left with other content."""
        return have_changed([self.before[place]], [self.after[place]], self.plan_fields)[0]

    def _changed(self, place: int, known: dict[str, Any], result: dict[str, Any]) -> None:
        """Store the record that the service returned."""
        try:
            line = self.view.close(self.lines[place], known, result)
        except TypeError as error:  # orjson.JSONEncodeError is one
            self.ends[place] = Outcome.dead(Cause.NOT_ENCODABLE, unencodable.named(result, str(error)))
            return
        except MalformedRecord as error:
            self.ends[place] = Outcome.dead(Cause.MALFORMED_RECORD, str(error))
            return
        if self.needed_fields != NOTHING:
            self.after[place] = as_sent(self.view.left(known, result), self.needed_fields)
        self.lines[place] = line

    def raised(self, place: int, error: BaseException, policy: StopPolicy) -> None:
        """Store an exception of the service; the record may be tried again unless the exception is in `no_retry`."""
        outcome = Outcome.raised(describe_error(error, policy.hint(error)))
        is_final = issubclass(type(error), policy.no_retry)
        self.failures[place] = Failure(outcome, trace=trace_of(error), is_final=is_final)

    def timed_out(self, place: int, seconds: float) -> None:
        """Store that the service did not answer within `seconds`."""
        self.failures[place] = Failure(Outcome.dead(Cause.TIMEOUT, f"no answer within {seconds:g} s"))

    def blocked(self, place: int, error: BaseException, seconds: float) -> None:
        """Store that the service was interrupted, since it kept the worker from doing anything else.

        The record is not tried again: it would hold up all others once more. `error` is what interrupted it.
        """
        where = describe_error(error).place
        detail = f"it blocked the event loop for {seconds:g} s{f' ({where})' if where else ''}"
        self.ends[place] = Outcome.dead(Cause.TIMEOUT, detail)

    def again(self, place: int, policy: StopPolicy, now: float, jitter: Callable[[], float]) -> Segment | None:
        """Return a segment with this record and its attempts, and clear its failure; None if no attempt follows."""
        failure = self.failures.get(place)
        if failure is None:
            return None
        segment = self.segment.part([place])
        waiting, wait, _ = _next_attempt(failure, segment, policy, now, jitter)
        if wait is None:
            return None
        del self.failures[place]
        return waiting


def admit(departures: Departures, segment: Segment, policy: StopPolicy, now: float) -> bool:
    """Return whether the service takes the records of a segment; if they are too old, end their journeys as expired.

    Records that the service has handled already may be older than its deadline.
    """
    age = now - segment.entered
    shown = f"{age:.1f}".removesuffix(".0")  # of 8.2 s, as 8 s would not be more than a deadline of 8 s
    if policy.max_age is not None and age > policy.max_age:
        detail = f"the journey is {shown} s old; at most {policy.max_age:g} s are allowed"
    elif policy.deadline is not None and age > policy.deadline and not segment.is_handled:
        detail = f"the journey is {shown} s old; the deadline of {policy.stop} is {policy.deadline:g} s"
    else:
        return True
    outcome = Outcome.dead(Cause.EXPIRED, detail)
    departures.add(segment, _end(outcome).hop(policy.stop))
    return False


def depart_in_chunks(
    departures: Departures,
    answers: Answers,
    policy: StopPolicy,
    now: float,
    jitter: Callable[[], float],
    *,
    places: Sequence[int] | None = None,
    clock: Clock = float,
) -> Iterator[None]:
    """Add the records that leave the stop to `departures`, each to the address that follows from its answer.

    Yield after each chunk of records that was decided about, so that the caller may let other tasks run. `clock`
    measures the chunks.

    Failed records go to their next attempt or, after the last one, to the dead letters. `places` are the indexes of
    the handled records that leave. By default all of them leave, and records that were not handled in time go back to
    the stop. `now` is in seconds since the epoch; `jitter` returns a random number from 0 to 1.
    """
    segment, stop, every = answers.segment, policy.stop, len(answers)
    if places is None:
        places = range(answers.taken)
        if answers.taken < every:
            departures.send_back(segment.part(range(answers.taken, every)), stop)
    if answers.failures:
        for failure, failed in _alike(answers.failures, places):
            worked = answers.worked(failed, now)
            _depart_failed(departures, failure, segment.part(failed), policy, now, jitter, worked)
        places = [place for place in places if place not in answers.failures]
    if answers.waits:
        waiting = [place for place in places if waits_on(answers.waits.get(place), now)]
        _depart_waiting(departures, answers, waiting, policy, now)
        places = [place for place in places if place not in set(waiting)]
    if places:
        lines = tuple(answers.lines if len(places) == every else [answers.lines[place] for place in places])
        handled = segment.part(places).visited(stop, now, lines, answers.worked(places, now))
        steps: list[NextStep] = []
        yield from _decide_in_chunks(answers, places, stop, steps, clock)
        if segment.itinerary is None or Decider.SWITCH not in steps:
            departures.add_each(handled, steps, stop)
        else:
            _depart_replanned(departures, answers, places, handled, steps)


depart = at_once(depart_in_chunks)
"""Does all that `depart_in_chunks` does, at once."""


def _depart_replanned(
    departures: Departures, answers: Answers, places: Sequence[int], handled: Segment, steps: Sequence[NextStep]
) -> None:
    """Add records of which some carry a plan that the stop has made stale. These note the fields that it changed.

    Records of one fate stay in order, so those with the same fields are together only where they follow one another.
    """
    stale = [index for index, step in enumerate(steps) if step is Decider.SWITCH]
    others = [index for index, step in enumerate(steps) if step is not Decider.SWITCH]
    if others:
        departures.add_each(handled.part(others), [steps[index] for index in others], answers.stop)
    runs = [list(run) for _, run in groupby(stale, lambda index: answers.replan([places[index]]))]
    for run in runs if len(runs) <= MAX_REPLANS else [stale]:
        part = handled.part(run)
        replans = (*part.replans, answers.replan([places[index] for index in run]))
        departures.add(replace(part, replans=replans), Decider.SWITCH.hop(answers.stop))


def _depart_waiting(
    departures: Departures, answers: Answers, places: Sequence[int], policy: StopPolicy, now: float
) -> None:
    """Send records for which the service planned a wait to a waiting room; those with the same wait stay together."""
    groups: dict[tuple[PlannedWait, bool], list[int]] = {}
    for place in places:
        plan = answers.waits[place]
        groups.setdefault((plan, plan.is_given and answers.is_stale(place)), []).append(place)
    for (plan, is_stale), together in groups.items():
        came = answers.segment.part(together)
        left = replace(came, lines=tuple([answers.lines[place] for place in together]))
        if is_stale:  # the switch plans anew when the records continue
            left = replace(left, itinerary=None, replans=(*left.replans, answers.replan(together)))
        max_age = policy.max_age if plan.goes_on else policy.max_age_here
        refused = send_waiting(departures, plan, left, policy.stop, policy.retries, max_age, now)
        if refused is not None:
            noted, _ = with_wait(came, policy.stop, now, plan.progress)
            departures.add(noted.visited(policy.stop, now), _end(refused).hop(policy.stop))


def _depart_failed(
    departures: Departures,
    failure: Failure,
    segment: Segment,
    policy: StopPolicy,
    now: float,
    jitter: Callable[[], float],
    worked: float | None,
) -> None:
    """Send records with the same failure to their next attempt or, after the last one, to the dead letters."""
    tried, wait, outcome = _next_attempt(failure, segment, policy, now, jitter)
    if wait is None:
        tried = tried.visited(policy.stop, now, worked=worked)
        departures.add(tried, _end(outcome).hop(policy.stop))
    else:
        departures.send_back(tried, policy.stop, wait)


def _next_attempt(
    failure: Failure, segment: Segment, policy: StopPolicy, now: float, jitter: Callable[[], float]
) -> tuple[Segment, float | None, Outcome]:
    """Return the segment with this attempt or wait noted, and the seconds until the next attempt; None if none follows.

    The outcome is that of the records if none follows.
    """
    stop, before = policy.stop, segment.attempts
    at_stop = before if before is not None and before.stop == stop else Attempts(stop, (), now)
    earlier, traces = at_stop.causes, at_stop.traces
    causes = bounded_causes((*earlier, failure.outcome.reason or ""))
    times = (*[0.0] * (len(earlier) - len(at_stop.times)), *at_stop.times, now)
    if failure.request is None:
        is_last = failure.is_final or len(causes) >= policy.retries.attempts
        wait = None if is_last else policy.retries.wait(len(causes), jitter())
        unknown = [""] * (len(earlier) - len(traces))
        kept = bounded_traces((*traces, *unknown, failure.trace))
        tried = Attempts(stop, causes, now + (wait or 0.0), kept, times)
        return replace(segment, attempts=tried), wait, failure.outcome
    noted, waits = with_wait(segment, stop, now)
    answer = failure.request.granted(policy.retries, policy.max_age_here, segment.entered, waits.since, now)
    if isinstance(answer, Outcome):
        return replace(noted, attempts=Attempts(stop, causes, now, traces, times)), None, answer
    wait = (
        answer
        if failure.request.after
        else min(answer, max(MIN_WAIT_SECONDS, policy.retries.wait(waits.times, jitter())))
    )
    return replace(noted, attempts=at_stop._replace(due=now + wait)), wait, failure.outcome


def bounded_traces(traces: tuple[str, ...]) -> tuple[str, ...]:
    """Return the traces of attempts, without the earliest ones if all take more than `MAX_TRACES_CHARACTERS`."""
    left, kept = MAX_TRACES_CHARACTERS, list[str]()
    for trace in reversed(traces):
        left -= len(trace)
        kept.append(trace if left >= 0 else "")
    return tuple(reversed(kept)) if any(kept) else ()


def bounded_causes(causes: tuple[str, ...]) -> tuple[str, ...]:
    """Return the causes of attempts, all of them shortened if they take more than `MAX_CAUSES_CHARACTERS`."""
    if sum(map(len, causes)) <= MAX_CAUSES_CHARACTERS:
        return causes
    each = MAX_CAUSES_CHARACTERS // len(causes)
    return tuple([cause[:each] for cause in causes])


def _decide_in_chunks(
    answers: Answers, places: Sequence[int], stop: str, steps: list[NextStep], clock: Clock
) -> Iterator[None]:
    """Add the next step of each handled record at `places` to `steps`."""
    ends: dict[Outcome, Decision] = {}  # records with equal ends stay together

    def decide(part: slice) -> None:
        steps.extend(_next_steps(answers, places[part], stop, ends))

    return in_chunks(decide, len(places), len(places), clock)


def _next_steps(
    answers: Answers, places: Sequence[int], stop: str, ends: dict[Outcome, Decision]
) -> Sequence[NextStep]:
    """Return the next step of each handled record at `places`; `ends` keeps the decisions that end journeys."""
    if not answers.ends:
        return _leave(answers, places, stop)
    next_steps: dict[int, NextStep] = {}
    for place in places:
        outcome = answers.ends.get(place)
        if outcome is not None:
            next_steps[place] = ends.setdefault(outcome, _end(outcome))
    left = [place for place in places if place not in next_steps]
    next_steps |= zip(left, _leave(answers, left, stop), strict=True)
    return [next_steps[place] for place in places]


def _leave(answers: Answers, places: Sequence[int], stop: str) -> Sequence[NextStep]:
    after = [answers.after[place] for place in places]
    changed = have_changed([answers.before[place] for place in places], after, answers.plan_fields)
    metas = None if answers.metas is None else [answers.metas[place] for place in places]
    leaving = Leaving(stop, after, answers.segment.itinerary, changed, metas)
    return answers.strategy.leave(answers.rule_tables, leaving)


def _alike(failures: dict[int, Failure], places: Sequence[int]) -> Iterator[tuple[Failure, list[int]]]:
    """Yield each failure with those of the indexes whose records share it; they wait for the next attempt together."""
    groups: dict[Failure, list[int]] = {}
    for place in places:
        if place in failures:
            groups.setdefault(failures[place], []).append(place)
    yield from groups.items()


def _end(outcome: Outcome) -> Decision:
    """Return a decision that ends the journey with an outcome decided by no rule."""
    return Decision(None, outcome, None, 0, NOTHING)


def _verdict(result: Any) -> Outcome:
    """Return the outcome for a return value of the service that is none of a dict, `Retry` and `Wait`."""
    if is_of(result, Drop):
        if not is_of(result.reason, str):
            return Outcome.dead(Cause.BAD_RETURN, f"Drop({shown(result.reason)}): the reason must be a string")
        return Outcome.dropped(result.reason)
    if type(result) is DeliveredAt:
        return Outcome.delivered(result.end)
    return Outcome.dead(Cause.BAD_RETURN, f"{name_of_type(result)}, not a dict, Drop, Retry or Wait")
