"""Rehearses the journey of one record: the code of a worker runs it, without a broker and without waiting."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence, Set
from dataclasses import dataclass, field, replace
from typing import Any

import orjson

from metroline.agents.delivery.journey_metrics import HandlingTime
from metroline.agents.formats.names import JSON, PACKED
from metroline.agents.lookups.errors import LookupDamaged, LookupMissing
from metroline.agents.services.line import Line
from metroline.agents.services.service import Service
from metroline.agents.stops.batch_run import run_batch
from metroline.agents.stops.calls import calls_of
from metroline.agents.stops.open_resources import OpenResources
from metroline.agents.stops.service_run import ServiceRun
from metroline.agents.stops.views import ServiceViews
from metroline.app.markup.times import iso
from metroline.app.settings import Settings
from metroline.routing.addresses import SOURCE, is_service, stop_of
from metroline.routing.errors import MetrolineError
from metroline.routing.journeys.answers import Answers, Failure, StopPolicy, admit, depart
from metroline.routing.journeys.deciders import ROUTERS, route
from metroline.routing.journeys.departures import Departures, Limits
from metroline.routing.journeys.ends import DEFAULT_ENDS, Ends, deliverable
from metroline.routing.journeys.entry import enter
from metroline.routing.journeys.retry_policy import RetryPolicy
from metroline.routing.messages.envelope import Envelope
from metroline.routing.messages.metadata import Metadata
from metroline.routing.messages.record_ids import Origin
from metroline.routing.messages.segment import Segment
from metroline.routing.outcome import Cause, DeliveredAt, Ending, Outcome
from metroline.routing.rules.explain import NO_CHANGES, Changes, Explained, changes, trials
from metroline.routing.rules.rule_meta import NO_META, rule_metas
from metroline.routing.rules.table import RulesTable
from metroline.routing.strategies import RuleTables, Strategy, strategy_named

STRATEGY = strategy_named("signpost")
"""All strategies take a record the same way; this one decides after every stop, with the whole table."""

ORIGIN = Origin("explained", 0)
"""The origin of rehearsed records. Their ids differ from those of every record of a line."""


MAX_CALLS = 10_000
"""Calls of a service for one record, after which it is not called again: each time it asked for another wait."""


class NotCalled(Exception):
    """Raised for a service that could not be called; the text says why."""


@dataclass(slots=True)
class SkippingClock:
    """A clock for journeys in which nobody waits: it stands still, and goes on by each wait at once."""

    now: float
    """The present time, in seconds since the epoch."""

    def skip_to(self, due: float) -> None:
        """Let the time until `due` pass, in seconds since the epoch."""
        self.now = max(self.now, due)


@dataclass(frozen=True, slots=True)
class _Handled:
    """A record after a stop: what leaves, failed attempts, whether the rules decided where it goes, and its waits."""

    departures: Departures
    attempts: tuple[str, ...]
    is_decided: bool
    errors: tuple[BaseException, ...] = ()
    """The exceptions that the service raised."""
    waits: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Passage:
    """The passage of a record from a stop, or from the source, to the next stop or to its outcome."""

    before: Segment | None
    """The record as it came to the stop; None if it comes from the source."""
    segment: Segment
    """The record as it leaves."""
    address: str
    """The address of the next stop, or of the arrivals."""
    attempts: tuple[str, ...]
    """The failed attempts at the stop, each with its number and its cause."""
    is_decided: bool
    """True if the rules decided where the record goes."""
    errors: tuple[BaseException, ...]
    """The exceptions that the service raised at the stop."""
    waits: tuple[str, ...] = ()
    """The waits at the stop that the service planned, one sentence each."""


@dataclass(frozen=True, slots=True)
class Rehearsal:
    """Takes records through a rules table and the services of a line, with the limits of a worker."""

    table: RulesTable
    services: Mapping[str, Service] | None = None
    """The services to call; None to leave records at each stop as they are."""
    limits: Limits = field(default_factory=Limits)
    retries: RetryPolicy = field(default_factory=RetryPolicy)
    max_age: float | None = None
    """Maximum duration of a journey, in seconds; None for no limit."""
    ends: Ends = field(default_factory=lambda: DEFAULT_ENDS)
    formats: Mapping[str, str] = field(default_factory=dict)
    """The formats of the ends other than JSON, by the names of the ends. Nothing checks them here."""
    last: Set[str] = frozenset()
    """The stops that are ends in other systems: a record that comes there is delivered, also if nothing is called."""
    source: str = SOURCE
    """The name of the source topic, for the metadata that services receive."""
    strategy: Strategy = STRATEGY
    origin: Origin = ORIGIN
    clock: SkippingClock | None = None
    """The clock of a journey whose waits pass at once; None for that of this machine, by which nobody waits."""
    resources: OpenResources = field(default_factory=lambda: OpenResources({}))
    """The resources of the line. Each is opened before the first call of a service that takes it; close them."""

    @classmethod
    def of_line(
        cls, settings: Settings, line: Line, table: RulesTable, resources: OpenResources | None = None
    ) -> Rehearsal:
        """Return a rehearsal with a rules table and the services of a line, under these settings.

        `resources` are those that the services take. Default: those of the line, which nobody else uses.
        """
        formats = {end: chosen.name for end, chosen in settings.end_formats(line).items()}
        return cls(
            table,
            line.for_trials().services,
            Limits(max_hops=settings.max_hops),
            settings.retry_policy,
            settings.max_age,
            settings.ends(line),
            {end: name for end, name in formats.items() if name not in (JSON, PACKED)},
            line.last,
            settings.topics(line).source,
            resources=resources or OpenResources(line.resources),
        )

    @property
    def rule_tables(self) -> RuleTables:
        return RuleTables(self.table, self.table)

    async def explain(
        self, record: bytes, number: int = 0, metadata: Metadata | None = None
    ) -> AsyncIterator[Explained]:
        """Yield the decisions about a record that comes in as a source message of one line, from the source on.

        `metadata` is that of the message. A service is called as often as its retry policy says, without waits between
        the attempts. The journey is followed as far as it can be known: where it cannot, the last verdict begins with
        `unknown`.
        """
        departures = self.departures()
        enter(departures, [number], [record], self.strategy, self.rule_tables, self._now(), metadata=metadata)
        async for step in self.follow(departures):
            yield step

    def departures(self) -> Departures:
        """Return empty departures, to which the first step of a record is added."""
        return Departures(self.strategy.name, self.origin, self.limits.max_hops, self.limits.record_bytes)

    async def follow(self, departures: Departures, *, is_decided: bool = True) -> AsyncIterator[Explained]:
        """Yield the decisions about the only record in `departures`, as `explain` does.

        `is_decided` is False if somebody else than the rules named its first stop.
        """
        stop = SOURCE
        try:
            async for passage in self.walk(departures, is_decided=is_decided):
                yield self._explained(passage)
                stop = stop_of(passage.address)
        except NotCalled as error:
            yield Explained(stop, (), f"unknown: {error}")

    async def walk(self, departures: Departures, *, is_decided: bool = True) -> AsyncIterator[Passage]:
        """Yield the passages of the only record in `departures` up to its outcome.

        Raise `NotCalled` where its way cannot be known. `is_decided` is as in `follow`.
        """
        before: Segment | None = None
        handled = _Handled(departures, (), is_decided)
        while True:
            address, segment = self._routed(handled.departures)
            yield Passage(before, segment, address, handled.attempts, handled.is_decided, handled.errors, handled.waits)
            if segment.outcome is not None or not is_service(address):
                return
            handled = await self._at(stop_of(address), segment)
            before = segment

    def _routed(self, departures: Departures) -> tuple[str, Segment]:
        """Return the record and the address of its next stop, or of the arrivals, behind all routers on the way."""
        while True:
            [(address, [segment])] = departures.by_address.items()
            if address not in ROUTERS:
                return address, next(iter(deliverable(segment, self.ends)))
            envelope = Envelope(departures.strategy, departures.origin, (segment,))
            departures = self.departures()
            route(departures, ROUTERS[address], envelope, self.table)

    def _explained(self, passage: Passage) -> Explained:
        segment = passage.segment
        tried, changed = self._looked_at(passage)
        verdict = stop_of(passage.address) if segment.outcome is None else self._verdict(segment.outcome)
        return Explained(segment.last_stop, tried, verdict, *changed, passage.attempts, segment.lines[0], passage.waits)

    def _looked_at(self, passage: Passage) -> tuple[Any, Changes]:
        """Return the rules that were tried and the changes of the record, if it went to the rules."""
        before, segment = passage.before, passage.segment
        outcome = segment.outcome
        if not passage.is_decided or (
            outcome is not None and outcome.cause in (Cause.MALFORMED_RECORD, Cause.TOO_LARGE)
        ):
            return (), NO_CHANGES
        record = orjson.loads(segment.lines[0])
        stop_rules = self.table.stop_rules(segment.last_stop)
        metas = rule_metas(segment.metadata, segment.entered, 1, stop_rules.meta)
        tried = tuple(trials(stop_rules, record, NO_META if metas is None else metas[0]))
        return tried, NO_CHANGES if before is None else changes(orjson.loads(before.lines[0]), record)

    def _verdict(self, outcome: Outcome) -> str:
        reason = outcome.reason
        between = " at " if outcome.ending is Ending.DELIVERED else ": "
        verdict = f"{outcome.ending}{between}{reason}" if reason else str(outcome.ending)
        if (format := self.formats.get(outcome.end or "")) is not None:
            verdict += f" (if it fits the format {format} of its end, which was not checked)"
        return verdict

    async def _at(self, stop: str, segment: Segment) -> _Handled:
        """Call the service of a stop until the record leaves the stop; raise `NotCalled` if that cannot be known."""
        if self.services is None:
            return self._passed(stop, segment)
        service = self.services.get(stop)
        if service is None:
            raise NotCalled("the line has no service for this stop")
        policy = StopPolicy(
            stop,
            service.retry_policy_over(self.retries),
            service.no_retry,
            service.reads,
            self.max_age,
            service.deadline,
        )
        attempts: list[str] = []
        errors: list[BaseException] = []
        waits: list[str] = []
        for _ in range(MAX_CALLS):
            departures = self.departures()
            if not admit(departures, segment, policy, self._now()):
                return _Handled(departures, tuple(attempts), is_decided=False, errors=tuple(errors), waits=tuple(waits))
            answers = await self._answers(service, policy, segment, errors)
            failure = answers.failures.get(0)
            if failure is not None and failure.request is None:
                attempts.append(f"attempt {len(attempts) + 1} of {policy.retries.attempts}: {failure.outcome.reason}")
            depart(departures, answers, policy, self._now(), self._jitter, places=[0])
            if not departures.returning:
                is_decided = failure is None and not answers.ends
                return _Handled(departures, tuple(attempts), is_decided, tuple(errors), tuple(waits))
            [[segment]] = departures.returning.values()
            if 0 in answers.waits:
                waits.append(self._told(segment))
            self._wait(segment, failure, waits)
        raise NotCalled(f"the service was called {MAX_CALLS:,} times for the record, and asks for another wait")

    def _now(self) -> float:
        return time.time() if self.clock is None else self.clock.now

    def _jitter(self) -> float:
        """Return the share of a backoff that is waited: all of it, if waits pass at once."""
        return 0.0 if self.clock is None else 1.0

    def _told(self, segment: Segment) -> str:
        """Return a sentence about the wait of a record that its service planned."""
        assert segment.attempts is not None
        due = segment.attempts.due
        return f"waits for {due - self._now():,.0f} s, until {iso(due)}"

    def _wait(self, segment: Segment, failure: Failure | None, waits: Sequence[str]) -> None:
        """Let the time until the next call pass; raise `NotCalled` if nobody waits and the service is called then."""
        if self.clock is not None and segment.attempts is not None:
            self.clock.skip_to(segment.attempts.due)
        elif failure is not None and failure.request is not None:
            wait = f"the service asks to wait for {failure.request.after:g} s, and this command does not wait"
            raise NotCalled(f"{wait}: {failure.outcome.detail}")
        elif failure is None and waits and not segment.is_handled:
            raise NotCalled(f"{waits[-1]}, and comes back to the stop then; this command does not wait")

    def _passed(self, stop: str, segment: Segment) -> _Handled:
        """Return a record after a stop that left it as it is, or after an end in another system, which took it."""
        departures = self.departures()
        answers = Answers(stop, segment, ServiceViews(None).of, self.strategy, self.rule_tables)
        opened = answers.open(0)
        if opened is not None:
            known, handed = opened
            answers.returned(0, known, DeliveredAt(stop) if stop in self.last else handed)
        answers.taken = 1
        depart(departures, answers, StopPolicy(stop, self.retries), self._now(), self._jitter)
        return _Handled(departures, (), is_decided=not answers.ends)

    async def _answers(
        self, service: Service, policy: StopPolicy, segment: Segment, errors: list[BaseException]
    ) -> Answers:
        """Call a service once, and add its exceptions to `errors`.

        Raise `NotCalled` if a resource cannot be opened, or it reads a lookup that cannot be read.
        """
        try:
            service = await self.resources.connect(service)
        except MetrolineError as error:
            raise NotCalled(f"the service could not be called: {error}") from error
        views = ServiceViews(service.reads)
        answers = Answers(service.name, segment, views.of, self.strategy, self.rule_tables, service.types)
        raised: list[BaseException] = []
        watched = replace(service, handler=_watching(service, raised))
        calls = calls_of(service)
        run = ServiceRun(watched, policy, calls, self.origin, answers, HandlingTime(), self.source, self._now)
        if service.batching is None or segment.is_handled:
            await run.run_one(0)
        else:
            answers.taken = 1
            await run_batch([(run, 0)])
        errors += raised
        for problem in raised:
            if isinstance(problem, (LookupMissing, LookupDamaged)):
                raise NotCalled(f"the service could not be called: {problem}") from problem
        return answers


def _watching(service: Service, raised: list[BaseException]) -> Callable[..., Any]:
    """Return the handler of a service, whose exceptions are added to `raised`, too."""

    def handle(*arguments: Any, **told: Any) -> Any:
        try:
            return service.handler(*arguments, **told)
        except BaseException as error:
            raised.append(error)
            raise

    async def await_handler(*arguments: Any, **told: Any) -> Any:
        try:
            return await service.handler(*arguments, **told)
        except BaseException as error:
            raised.append(error)
            raise

    return await_handler if service.is_async else handle
