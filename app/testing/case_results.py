"""Takes the cases of a line through it under each strategy, and compares their journeys with those expected."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import orjson
from pydantic_settings import BaseSettings

from metroline.agents.services.own_settings import PARAMETER, read_settings
from metroline.agents.stops.open_resources import OpenResources
from metroline.app.markup.text import escaped
from metroline.app.testing.cases import Case, Cases
from metroline.app.testing.in_memory_line import InMemoryLine
from metroline.app.testing.journey import Journey, Record
from metroline.app.testing.messages import messages_of
from metroline.routing.errors import MetrolineError, UsageError
from metroline.routing.outcome import Ending
from metroline.routing.records.fingerprints import fingerprint
from metroline.routing.spelling import suggestion

NOTHING_EXPECTED = "it expects nothing: write an outcome, or run the command with --update"


@dataclass(frozen=True, slots=True)
class CaseResult:
    """The result of a case under one strategy."""

    case: Case
    strategy: str
    journey: Journey | None
    """None if the journey could not be followed to its outcome."""
    differences: tuple[str, ...]
    """Each difference from what is expected, in one line; none if the case passed."""
    seconds: float
    """Time that the journey took, in seconds."""

    @property
    def has_passed(self) -> bool:
        return not self.differences

    def as_json(self) -> dict[str, Any]:
        journey = self.journey
        told = ("stops", "outcome", "reason", "end", "record")
        return {
            "case": self.case.name,
            "line": self.case.line,
            "strategy": self.strategy,
            "passed": self.has_passed,
            "differences": list(self.differences),
            "seconds": round(self.seconds, 6),
            "journey": None if journey is None else {name: getattr(journey, name) for name in told},
        }


async def results_of(
    line: InMemoryLine, cases: Cases, chosen: Sequence[Case], strategies: Sequence[str]
) -> list[CaseResult]:
    """Return the result of each chosen case under each strategy.

    Raise `UsageError` if a case has a stand-in for a stop that the line does not have, or if the settings in the file
    are none of the line.
    """
    settings = _settings(line, cases)
    results: list[CaseResult] = []
    with line.looking_up(cases.lookups):
        shared = line.with_stand_ins(cases.services)
        async with line.resources(settings) as opened:
            for case in chosen:
                own = shared.with_stand_ins(case.services)
                results += _agreeing([await _result(own, case, strategy, opened) for strategy in strategies])
    return results


def _settings(line: InMemoryLine, cases: Cases) -> dict[str, BaseSettings]:
    """Return the settings of the line as a resource, with the values in the file; nothing if it has none."""
    if not cases.settings:
        return {}
    declared = line.line.settings
    if declared is None:
        raise UsageError(f"{cases.file}: [settings]: the line has no class Settings")
    aliases = (field.validation_alias for field in declared.model_fields.values())
    known = {*declared.model_fields, *(alias for alias in aliases if isinstance(alias, str))}
    for name in cases.settings:
        if name not in known:
            hint = suggestion(name, known) or f"; there are {', '.join(sorted(known))}"
            raise UsageError(f"{cases.file}: [settings]: the line has no setting {name!r}{hint}")
    return {PARAMETER: read_settings(declared, cases.settings)}


def _agreeing(results: Sequence[CaseResult]) -> Iterator[CaseResult]:
    """Yield the results of a case; those that go another way than the first one have failed."""
    first = results[0]
    for result in results:
        if _route(result.journey) == _route(first.journey):
            yield result
        else:
            other = (
                f"it goes another way than by {first.strategy}: its services are not deterministic, or keep something"
            )
            yield replace(result, differences=(*result.differences, other))


def _route(journey: Journey | None) -> tuple[object, ...]:
    return () if journey is None else (journey.stops, journey.outcome, journey.cause, journey.end)


async def _result(line: InMemoryLine, case: Case, strategy: str, resources: OpenResources) -> CaseResult:
    began = time.perf_counter()
    now = time.time() if case.now is None else case.now
    try:
        [journey] = await line.journeys(list(messages_of(case.message)), strategy, now, resources)
    except UsageError:
        raise
    except MetrolineError as error:
        return CaseResult(case, strategy, None, (str(error),), time.perf_counter() - began)
    found = tuple(differences(case, journey))
    return CaseResult(case, strategy, journey, found, time.perf_counter() - began)


def report_of(cases: Cases, case: Case, results: Sequence[CaseResult]) -> Iterator[str]:
    """Yield the lines that say how the results of a case differ from what is expected; none if it passed.

    What differs alike under several strategies is said once, with one journey.
    """
    seen: dict[tuple[str, ...], list[CaseResult]] = {}
    for result in results:
        if not result.has_passed:
            seen.setdefault(result.differences, []).append(result)
    for found, alike in seen.items():
        by = "" if len(alike) == len(results) else f", by {', '.join(result.strategy for result in alike)}"
        yield f"{cases.file}:{case.line}: {escaped(case.name)}{by}"
        yield from (f"  {escaped(one)}" for one in found)
        if (journey := alike[0].journey) is not None:
            yield from (f"    {line}" for line in str(journey).splitlines())


def differences(case: Case, journey: Journey) -> Iterator[str]:
    """Yield each difference between a journey and what is expected of it, in one line."""
    if case.expects_nothing:
        yield NOTHING_EXPECTED
    if case.stops is not None and case.stops != journey.stops:
        yield f"stops: expected {_way(case.stops)}, was {_way(journey.stops)}"
    for name in ("outcome", "end"):
        expected, found = getattr(case, name), getattr(journey, name)
        if expected is not None and expected != found:
            yield f"{name}: expected {expected}, was {found or 'none'}"
    if case.reason is not None and not has_reason(journey, case.reason):
        yield f"reason: expected {case.reason}, was {journey.reason or 'none'}"
    if case.changes is not None:
        expected_changes = {name: value for name, value in case.changes.items() if name not in case.ignore}
        yield from _different_fields(expected_changes, changes(case, journey), journey.given)
    if case.removes is not None and set(removes(case, journey)) != set(case.removes) - case.ignore:
        yield f"removes: expected {_listed(case.removes)}, was {_listed(journey.removes)}"


def has_reason(journey: Journey, reason: str) -> bool:
    """Return whether a journey ended for a reason. Of a dead letter, the first words are enough, as `service_error`."""
    if journey.reason is None or journey.outcome != Ending.DEAD:
        return journey.reason == reason
    return journey.reason == reason or journey.reason.startswith(f"{reason}: ")


def reason_of(journey: Journey) -> str | None:
    """Return the reason to be expected of a journey, without what changes with the code, such as a number of a line."""
    if journey.outcome != Ending.DEAD:
        return journey.reason
    if journey.error is None or journey.reason is None:
        return journey.cause
    return ": ".join(journey.reason.split(": ")[:2])


def changes(case: Case, journey: Journey) -> Record:
    """Return the fields that were added or changed, without those that the case ignores."""
    return {name: value for name, value in journey.changes.items() if name not in case.ignore}


def removes(case: Case, journey: Journey) -> list[str]:
    """Return the fields that were removed, without those that the case ignores."""
    return [name for name in journey.removes if name not in case.ignore]


def _different_fields(expected: Record, found: Record, given: Record) -> Iterator[str]:
    for name, value in expected.items():
        if name not in found:
            yield f"changes: {name}: expected {_json(value)}, was not changed"
        elif fingerprint(value) != fingerprint(found[name]):
            yield f"changes: {name}: expected {_json(value)}, was {_json(found[name])}"
    for name in found:
        if name not in expected:
            before = f" (came in as {_json(given[name])})" if name in given else ""
            yield f"changes: {name}: expected no change, was {_json(found[name])}{before}"


def _way(stops: Sequence[str]) -> str:
    return " → ".join(stops) or "none"


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names) or "none"


def _json(value: Any) -> str:
    return orjson.dumps(value).decode()
