"""Finds services that are not deterministic: called again for the same record, they answer differently."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass, field

from metroline.app.compare.differences import EXAMPLES, Difference, Path, differing_paths, path_name, value_at
from metroline.app.compare.repeated_ways import Step, Way
from metroline.app.markup.numbers import counted
from metroline.app.markup.text import one_line
from metroline.routing.records.fingerprints import canonical

ROUNDS = 3
"""Number of times that records are taken through the line; together they last longer than a second of a clock."""

MAX_DIFFERENCES = 50
"""Number of differences of which records are taken through the line."""

TakeAgain = Callable[[Sequence[bytes]], Awaitable[Sequence[Way]]]
"""Takes records through the line under one strategy, and returns the way of each; nothing if it fails."""


@dataclass(slots=True)
class Unsteady:
    """A service that is not deterministic, with the records that differ between strategies for that reason."""

    stop: str
    what: tuple[str, ...]
    """The fields that it sets to other values, or nothing if it answers otherwise altogether."""
    indexes: set[int] = field(default_factory=set)

    def describe(self) -> str:
        """Return the finding in one line."""
        does = f"sets {one_line(', '.join(self.what))} to other values" if self.what else "answers otherwise"
        number = len(self.indexes)
        records = f"record {min(self.indexes)}" if number == 1 else counted(number, "record")
        return f"the service {self.stop} is not deterministic: it {does} when it is called again ({records})"


async def explained_by_services(
    found: Sequence[Difference], source_of: Callable[[int], bytes | None], take_again: TakeAgain
) -> tuple[list[Difference], list[Unsteady]]:
    """Return the differences that no service explains, and the services that explain the others.

    A few records of each difference are taken through the line several times under one strategy. A service that makes
    the same difference there is not deterministic, and the difference does not come from the strategies.
    """
    ways = await _ways(found[:MAX_DIFFERENCES], source_of, take_again)
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
    found: Sequence[Difference], source_of: Callable[[int], bytes | None], take_again: TakeAgain
) -> dict[int, list[Way]]:
    """Return the ways that some records took, by their indexes."""
    indexes = dict.fromkeys(index for difference in found for index in difference.indexes[:EXAMPLES])
    records = {index: record for index in indexes if (record := source_of(index)) is not None}
    ways: dict[int, list[Way]] = {}
    for _ in range(ROUNDS if records else 0):
        for index, way in zip(records, await take_again(list(records.values())), strict=False):
            ways.setdefault(index, []).append(way)
    return ways


def _reason(difference: Difference, ways: Sequence[Way]) -> Unsteady | None:
    """Return the first service that answers differently, if the difference shows in these ways of one record."""
    if len(ways) < 2 or not _shows(difference, ways):
        return None
    for steps in zip(*ways, strict=False):
        if len(set(map(_answer, steps))) > 1:
            return Unsteady(steps[0].after, tuple(dict.fromkeys(_changed_fields(steps))))
    return None


def _shows(difference: Difference, ways: Sequence[Way]) -> bool:
    """Return whether these ways differ in what differs between strategies."""
    if difference.path is None:
        return len({tuple((step.after, step.verdict) for step in way) for way in ways}) > 1
    path = difference.path
    return len({value_at(way[-1].record, path) for way in ways}) > 1


def _answer(step: Step) -> tuple[object, ...]:
    """Return what a service made of a record: before rules decide about it, if it went to them."""
    return (step.after, step.attempts, canonical(step.record), None if step.tried else step.verdict)


def _changed_fields(steps: Sequence[Step]) -> Iterator[str]:
    for path in differing_paths([step.record for step in steps]):
        if path:
            yield path_name(tuple(step for step in path if isinstance(step, str)))
