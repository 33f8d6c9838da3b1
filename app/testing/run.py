"""Takes records through a line in memory, under one strategy or all of them, and returns their journeys."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable, Mapping
from contextvars import ContextVar
from datetime import datetime
from typing import Any

from metroline.agents.services.line import Line
from metroline.app.testing.in_memory_line import in_memory_line
from metroline.app.testing.journey import Journey
from metroline.app.testing.messages import Records, messages_of, seconds
from metroline.routing.errors import MetrolineError, UsageError
from metroline.routing.records.fingerprints import canonical
from metroline.routing.strategies import STRATEGIES

ALL = "all"
"""The name that stands for all strategies."""

FIRST = "signpost"
"""The strategy whose journeys are returned for all strategies."""

seen_journeys: ContextVar[list[Journey] | None] = ContextVar("seen_journeys", default=None)
"""A list to which every journey is added; None while nobody asks for them."""


class StrategiesDiffer(AssertionError):
    """Raised when a record does not make the same journey under all strategies."""


def run_line(
    line: str | os.PathLike[str] | Line,
    records: Records,
    strategy: str = FIRST,
    *,
    lookups: Mapping[str, Mapping[Any, Any]] | None = None,
    services: Mapping[str, Callable[..., Any]] | None = None,
    resources: Mapping[str, Any] | None = None,
    rules: str | os.PathLike[str] | None = None,
    settings: Mapping[str, Any] | None = None,
    now: float | datetime | None = None,
) -> list[Journey]:
    """Take records through a line in memory and return the journey of each, in the order of the records.

    It is the code of a worker that runs, with its settings, but no broker: services are called as at their stops, async
    and blocking ones, too. Nobody waits for retries: the time of a wait passes at once, and counts as if it had passed.

    Args:
        line: Folder or package of the line.
        records: One record (a dict, or its JSON), a `Message` with key and headers, a list of them, or the `Path` of a
            file of records.
        strategy: Name of a strategy, or `all` to take the records through the line under each of them and to compare
            the journeys. Default: `signpost`.
        lookups: Entries of lookups by their names, in place of those on disk. Default: the lookups as they are built,
            and built now if the line builds them itself.
        services: Functions to be called in place of services, by the names of their stops.
        resources: Values to be used in place of resources of the line, by their names; the others are opened, and
            closed at the end.
        rules: File with a rules table to be used in place of the line's own.
        settings: Settings by their names in lower case, such as `{"max_hops": 10}`, that override the environment.
        now: Time at which the records come in: a `datetime` with a time zone, or seconds since the epoch. Default: the
            present time.

    Raises `StrategiesDiffer` if a journey differs between strategies, `UnfinishedJourney` if a lookup is missing, and
    `InvalidLine`, `InvalidRules` or `UsageError` if the line or an argument cannot be used.
    """
    __tracebackhide__ = True
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        pass
    else:
        raise UsageError("run_line() cannot be called in a running event loop: write `await run_line_async(...)`")
    try:
        return asyncio.run(
            run_line_async(
                line,
                records,
                strategy,
                lookups=lookups,
                services=services,
                resources=resources,
                rules=rules,
                settings=settings,
                now=now,
            )
        )
    except (MetrolineError, StrategiesDiffer) as error:
        raise error.with_traceback(None)  # noqa: B904 - the same error, without the calls in this package


async def run_line_async(
    line: str | os.PathLike[str] | Line,
    records: Records,
    strategy: str = FIRST,
    *,
    lookups: Mapping[str, Mapping[Any, Any]] | None = None,
    services: Mapping[str, Callable[..., Any]] | None = None,
    resources: Mapping[str, Any] | None = None,
    rules: str | os.PathLike[str] | None = None,
    settings: Mapping[str, Any] | None = None,
    now: float | datetime | None = None,
) -> list[Journey]:
    """Take records through a line as `run_line` does, in the running event loop: for tests that are async."""
    __tracebackhide__ = True
    try:
        first, others = await _journeys(line, records, strategy, lookups, services, resources, rules, settings, now)
        for other in others:
            _compare(first, other)
    except (MetrolineError, StrategiesDiffer) as error:
        raise error.with_traceback(None)  # noqa: B904 - the same error, without the calls in this package
    return first


async def _journeys(
    line: str | os.PathLike[str] | Line,
    records: Records,
    strategy: str,
    lookups: Mapping[str, Mapping[Any, Any]] | None,
    services: Mapping[str, Callable[..., Any]] | None,
    resources: Mapping[str, Any] | None,
    rules: str | os.PathLike[str] | None,
    settings: Mapping[str, Any] | None,
    now: float | datetime | None,
) -> tuple[list[Journey], list[list[Journey]]]:
    """Return the journeys under the first strategy, which are kept for the test's report, and under the others."""
    made = in_memory_line(line, services=services, rules=rules, settings=settings)
    began = time.time() if now is None else seconds(now, "now")
    messages = list(messages_of(records))
    names = [FIRST, *(name for name in STRATEGIES if name != FIRST)] if strategy == ALL else [strategy]
    with made.looking_up(lookups or {}):
        async with made.resources(resources or {}) as opened:
            first, *others = [await made.journeys(messages, name, began, opened) for name in names]
    if (seen := seen_journeys.get()) is not None:
        seen += first
    return first, others


def _compare(journeys: list[Journey], others: list[Journey]) -> None:
    """Raise `StrategiesDiffer` if a record did not make the same journey under two strategies."""
    for journey, other in zip(journeys, others, strict=True):
        if _way(journey) != _way(other):
            raise StrategiesDiffer(
                "the strategies do not take a record the same way; a service that is not deterministic, or that keeps "
                f"something from one record to the next, is the usual reason\n{journey}\n{other}"
            )


def _way(journey: Journey) -> tuple[object, ...]:
    """Return all of a journey that is the same under every strategy."""
    rules = [visit.rule for visit in journey.history]
    return journey.stops, rules, journey.outcome, journey.reason, journey.end, journey.rule, canonical(journey.record)
