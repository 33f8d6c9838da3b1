"""Rehearses the journey of one record: the code of a worker runs it, without a broker and without waiting."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable, Mapping
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
from metroline.app.settings import Settings
from metroline.routing.addresses import SOURCE, is_service, stop_of
from metroline.routing.errors import MetrolineError
from metroline.routing.journeys.answers import Answers, StopPolicy, admit, depart
from metroline.routing.journeys.departures import Departures, Limits
from metroline.routing.journeys.ends import DEFAULT_ENDS, Ends, deliverable
from metroline.routing.journeys.entry import enter
from metroline.routing.journeys.retry_policy import RetryPolicy
from metroline.routing.messages.metadata import Metadata
from metroline.routing.messages.record_ids import Origin
from metroline.routing.messages.segment import Segment
from metroline.routing.outcome import Cause, Outcome
from metroline.routing.rules.explain import NO_CHANGES, Changes, Explained, changes, trials
from metroline.routing.rules.rule_meta import NO_META, rule_metas
from metroline.routing.rules.table import RulesTable
from metroline.routing.strategies import RuleTables, strategy_named

STRATEGY = strategy_named("signpost")
"""All strategies take a record the same way; this one decides after every stop, with the whole table."""

ORIGIN = Origin("explained", 0)
"""The origin of rehearsed records. Their ids differ from those of every record of a line."""


class NotCalled(Exception):
    """Raised for a service that could not be called; the text says why."""


@dataclass(frozen=True, slots=True)
class _Handled:
    """A record after a stop: what leaves, the failed attempts, and whether the rules decided where it goes."""

    departures: Departures
    attempts: tuple[str, ...]
    is_decided: bool


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
    source: str = SOURCE
    """The name of the source topic, for the metadata that services receive."""
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
            line.services,
            Limits(max_hops=settings.max_hops),
            settings.retry_policy,
            settings.max_age,
            settings.ends(line),
            {end: name for end, name in formats.items() if name not in (JSON, PACKED)},
            settings.topics(line).source,
            resources or OpenResources(line.resources),
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
        enter(departures, [number], [record], STRATEGY, self.rule_tables, time.time(), metadata=metadata)
        async for step in self.follow(departures):
            yield step

    def departures(self) -> Departures:
        """Return empty departures, to which the first step of a record is added."""
        return Departures(STRATEGY.name, ORIGIN, self.limits.max_hops, self.limits.record_bytes)

    async def follow(self, departures: Departures, *, is_decided: bool = True) -> AsyncIterator[Explained]:
        """Yield the decisions about the only record in `departures`, as `explain` does.

        `is_decided` is False if somebody else than the rules named its first stop.
        """
        before: Segment | None = None
        handled = _Handled(departures, (), is_decided)
        while True:
            [(address, [segment])] = handled.departures.by_address.items()
            segment = next(iter(deliverable(segment, self.ends)))
            yield self._explained(before, segment, address, handled)
            if segment.outcome is not None or not is_service(address):
                return
            stop = stop_of(address)
            try:
                handled = await self._at(stop, segment)
            except NotCalled as error:
                yield Explained(stop, (), f"unknown: {error}")
                return
            before = segment

    def _explained(self, before: Segment | None, segment: Segment, address: str, handled: _Handled) -> Explained:
        tried, changed = self._looked_at(before, segment, handled)
        verdict = stop_of(address) if segment.outcome is None else self._verdict(segment.outcome)
        return Explained(segment.last_stop, tried, verdict, *changed, handled.attempts, segment.lines[0])

    def _looked_at(self, before: Segment | None, segment: Segment, handled: _Handled) -> tuple[Any, Changes]:
        """Return the rules that were tried and the changes of the record, if it went to the rules."""
        outcome = segment.outcome
        if not handled.is_decided or (
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
        verdict = f"{outcome.ending}: {reason}" if reason else str(outcome.ending)
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
            stop, service.retry_policy_over(self.retries), service.no_retry, service.reads, self.max_age
        )
        attempts: list[str] = []
        while True:
            departures = self.departures()
            if not admit(departures, segment, policy, time.time()):
                return _Handled(departures, tuple(attempts), is_decided=False)
            answers = await self._answers(service, policy, segment)
            failure = answers.failures.get(0)
            if failure is not None and failure.request is None:
                attempts.append(f"attempt {len(attempts) + 1} of {policy.retries.attempts}: {failure.outcome.reason}")
            depart(departures, answers, policy, time.time(), _no_jitter, places=[0])
            if not departures.returning:
                return _Handled(departures, tuple(attempts), failure is None and not answers.ends)
            if failure is not None and failure.request is not None:
                wait = f"the service asks to wait for {failure.request.after:g} s, and nobody waits for it here"
                raise NotCalled(f"{wait}: {failure.outcome.detail}")
            [[segment]] = departures.returning.values()

    def _passed(self, stop: str, segment: Segment) -> _Handled:
        """Return a record after a stop that left it as it is."""
        departures = self.departures()
        answers = Answers(stop, segment, ServiceViews(None).of, STRATEGY, self.rule_tables)
        opened = answers.open(0)
        if opened is not None:
            answers.returned(0, *opened)
        answers.taken = 1
        depart(departures, answers, StopPolicy(stop, self.retries), time.time(), _no_jitter)
        return _Handled(departures, (), is_decided=True)

    async def _answers(self, service: Service, policy: StopPolicy, segment: Segment) -> Answers:
        """Call a service once; raise `NotCalled` if a resource cannot be opened, or a lookup cannot be read."""
        try:
            service = await self.resources.connect(service)
        except MetrolineError as error:
            raise NotCalled(f"the service could not be called: {error}") from error
        views = ServiceViews(service.reads)
        answers = Answers(service.name, segment, views.of, STRATEGY, self.rule_tables, service.types)
        problems: list[Exception] = []
        watched = replace(service, handler=_watching(service, problems))
        run = ServiceRun(watched, policy, calls_of(service), ORIGIN, answers, HandlingTime(), self.source)
        if service.batching is None:
            await run.run_one(0)
        else:
            answers.taken = 1
            await run_batch([(run, 0)])
        if problems:
            raise NotCalled(f"the service could not be called: {problems[0]}") from problems[0]
        return answers


def _watching(service: Service, problems: list[Exception]) -> Callable[..., Any]:
    """Return the handler of a service; errors about lookups, with which no worker would start, go to `problems`."""

    def handle(*arguments: Any, **told: Any) -> Any:
        try:
            return service.handler(*arguments, **told)
        except (LookupMissing, LookupDamaged) as error:
            problems.append(error)
            raise

    async def await_handler(*arguments: Any, **told: Any) -> Any:
        try:
            return await service.handler(*arguments, **told)
        except (LookupMissing, LookupDamaged) as error:
            problems.append(error)
            raise

    return await_handler if service.is_async else handle


def _no_jitter() -> float:
    return 0.0
