"""Finds services that are not deterministic: called twice for the same record, they answer differently."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson

from metroline.app.compare.differences import EXAMPLES, Difference, Path, differing_paths, path_name, value_at
from metroline.app.markup.numbers import counted
from metroline.app.operations.rehearsal import Rehearsal
from metroline.routing.rules.explain import Explained

ROUNDS = 3
"""Number of times that a record is taken through the line."""
PAUSE_SECONDS = 1.1
"""Time between two rounds, so that a service that writes the time in whole seconds writes another one."""
MAX_SECONDS = 30.0
"""Time after which no further record is looked at."""

Way = list[Explained]


@dataclass(slots=True)
class Unsteady:
    """A service that is not deterministic, with the records that differ between strategies for that reason."""

    stop: str
    what: tuple[str, ...]
    """The fields that it sets to other values, or nothing if it answers otherwise altogether."""
    indexes: set[int] = field(default_factory=set)

    def describe(self) -> str:
        """Return the finding in one line."""
        does = f"sets {', '.join(self.what)} to other values" if self.what else "answers otherwise"
        number = len(self.indexes)
        records = f"record {min(self.indexes)}" if number == 1 else counted(number, "record")
        return f"the service {self.stop} is not deterministic: it {does} when it is called again ({records})"


async def explained_by_services(
    rehearsal: Rehearsal,
    found: Sequence[Difference],
    source_of: Callable[[int], bytes | None],
    sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
) -> tuple[list[Difference], list[Unsteady]]:
    """Return the differences that no service explains, and the services that explain the others.

    A few records of each difference are taken through the line several times under one strategy, in this process and
    with its services called for real. A service that makes a difference there as well is not deterministic, and the
    difference does not come from the strategies.
    """
    ways = await _ways(rehearsal, found, source_of, sleep)
    reasons: dict[Path | None, Unsteady] = {}
    unsteady: dict[tuple[str, tuple[str, ...]], Unsteady] = {}
    for difference in found:
        for index in difference.indexes[:EXAMPLES]:
            reason = _reason(difference, ways.get(index, []))
            if reason is not None:
                reasons[difference.kind] = unsteady.setdefault((reason.stop, reason.what), reason)
                break
    left = []
    for difference in found:
        if (reason := reasons.get(difference.kind)) is None:
            left.append(difference)
        else:
            reason.indexes.update(difference.indexes)
    return left, list(unsteady.values())


async def _ways(
    rehearsal: Rehearsal,
    found: Sequence[Difference],
    source_of: Callable[[int], bytes | None],
    sleep: Callable[[float], Awaitable[object]],
) -> dict[int, list[Way]]:
    """Return the ways that some records took, by their indexes."""
    indexes = dict.fromkeys(index for difference in found for index in difference.indexes[:EXAMPLES])
    ways: dict[int, list[Way]] = {}
    until = time.monotonic() + MAX_SECONDS
    for number in range(ROUNDS):
        if number and ways:
            await sleep(PAUSE_SECONDS)
        for index in indexes:
            record = source_of(index)
            if record is not None and time.monotonic() < until:
                ways.setdefault(index, []).append([step async for step in rehearsal.explain(record, index)])
    return ways


def _reason(difference: Difference, ways: Sequence[Way]) -> Unsteady | None:
    """Return the first service that answers differently, if the difference shows in these ways of one record."""
    if len(ways) < 2 or not _shows(difference, ways):
        return None
    for steps in zip(*ways, strict=False):
        if len({_answer(step) for step in steps}) > 1:
            return Unsteady(steps[0].after, tuple(dict.fromkeys(_changed_fields(steps))))
    return None


def _shows(difference: Difference, ways: Sequence[Way]) -> bool:
    """Return whether these ways differ in what differs between strategies."""
    if difference.path is None:
        return len({tuple((step.after, step.verdict) for step in way) for way in ways}) > 1
    path = difference.path
    return len({value_at(orjson.loads(way[-1].record or b"null"), path) for way in ways}) > 1


def _answer(step: Explained) -> tuple[object, ...]:
    """Return what a service made of a record: before rules decide about it, if it went to them."""
    return (step.after, step.attempts, step.record, None if step.trials else step.verdict)


def _changed_fields(steps: Sequence[Explained]) -> Iterator[str]:
    contents: list[Any] = [orjson.loads(step.record or b"null") for step in steps]
    for path in differing_paths(contents):
        if path:
            yield path_name(tuple(step for step in path if isinstance(step, str)))
