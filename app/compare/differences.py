"""The differences between strategies, grouped, and figures of one that do not add up, one line each."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson

from metroline.app.compare.comparison import Run
from metroline.app.compare.evidence import Evidence, RecordOutcome
from metroline.app.compare.final_records import DifferingRecords, FinalRecords
from metroline.app.markup.numbers import counted
from metroline.app.markup.text import one_line
from metroline.routing.records.fingerprints import canonical
from metroline.routing.rules.explain import shown

LISTED = 10
"""Groups of differences that are listed; the records of the others are counted."""
EXAMPLES = 5
"""Records that a group names."""
MAX_FIELDS = 5
"""Fields of one record that are looked at."""

OUTCOME = "outcome"
ABSENT = "absent"

Path = tuple[str | int, ...]
"""The names and indexes that lead to a value in a record."""


@dataclass(frozen=True, slots=True)
class Compared:
    """One run of a comparison, with what became of each record."""

    name: str
    evidence: Evidence
    records: FinalRecords


@dataclass(slots=True)
class Difference:
    """Records that differ in the same way: in the same field, or in the same outcomes, between the same runs."""

    path: Path | None
    """The path of the field in the first of the records; None if the outcomes differ."""
    texts: tuple[str, ...]
    """For each run the value in the first of the records, or its outcome."""
    indexes: list[int] = field(default_factory=list)

    @property
    def kind(self) -> Path | None:
        """The path of the field for any element of a list; None if the outcomes differ."""
        return None if self.path is None else tuple([-1 if type(step) is int else step for step in self.path])

    @property
    def what(self) -> str:
        """The field, or the word `outcome`."""
        return OUTCOME if self.path is None else path_name(self.path)

    def describe(self, names: Sequence[str], source: Any) -> str:
        """Return the difference in one line; `names` are those of the runs, `source` is the first record as it came."""
        by_text: dict[str, list[str]] = {}
        for name, text in zip(names, self.texts, strict=True):
            by_text.setdefault(text, []).append(name)
        values = ", ".join(f"{text} under {' and '.join(under)}" for text, under in by_text.items())
        if self.path is None:
            return f"record {self.indexes[0]}: {values}{self._others()}"
        before = value_at(source, self.path)
        return f"record {self.indexes[0]}: {self.what} is {values}; in the source: {before}{self._others()}"

    def _others(self) -> str:
        if len(self.indexes) == 1:
            return ""
        named = ", ".join(map(str, self.indexes[:EXAMPLES])) + (", ..." if len(self.indexes) > EXAMPLES else "")
        return f" ({counted(len(self.indexes), 'record')}: {named})"


def wrong_sums(run: Run, evidence: Evidence) -> Iterator[str]:
    """Yield the sums of a run that do not add up, or do not agree with what came to the arrivals."""
    if not run.adds_up:
        yield (
            f"{run.name}: sent {run.sent} does not equal delivered {run.delivered} + dropped {run.dropped}"
            f" + dead {run.dead}"
        )
    seen = evidence.endings()
    for ending, count in run.outcomes.items():
        if seen[ending] != count:
            yield (
                f"{run.name}: {count} records are counted as {ending.value}, but {seen[ending]} with this outcome"
                " came to the arrivals"
            )


@dataclass(frozen=True, slots=True)
class LeftOut:
    """Records that differ between the runs and were not looked at, since there are too many."""

    outcomes: int = 0
    """Number of those whose outcomes differ."""
    contents: int = 0
    """Number of those with the same outcomes whose final contents differ."""


def differences(runs: Sequence[Compared]) -> tuple[list[Difference], LeftOut]:
    """Return the differences between runs, the most frequent first, and the records that were left out.

    The first run kept all of its final records, and the others those that differ from it.
    """
    first, others = runs[0].evidence, [run.evidence for run in runs[1:]]
    differing = [index for index in range(first.count) if any(one.differs(index, first) for one in others)]
    limit = min([one.records.complete_below for one in runs if isinstance(one.records, DifferingRecords)], default=0)
    groups: dict[Any, Difference] = {}
    outcomes = contents = 0
    for index in differing:
        if index < limit:
            for key, difference in _of_record(runs, index):
                groups.setdefault(key, difference).indexes.append(index)
        elif all(one.has_same_outcome(index, first) for one in others):
            contents += 1
        else:
            outcomes += 1
    return sorted(groups.values(), key=lambda group: -len(group.indexes)), LeftOut(outcomes, contents)


def listed(
    found: Sequence[Difference], names: Sequence[str], source_of: Callable[[int], Any], left_out: int = 0
) -> Iterator[str]:
    """Yield a line for each of the first groups, and one for the records of all others and for `left_out` more."""
    for difference in found[:LISTED]:
        yield one_line(difference.describe(names, source_of(difference.indexes[0])))
    others = {index for difference in found[LISTED:] for index in difference.indexes}
    others -= {index for difference in found[:LISTED] for index in difference.indexes}
    if more := len(others) + left_out:
        yield f"{counted(more, 'more record')} {'differs' if more == 1 else 'differ'} between the strategies"


def _of_record(runs: Sequence[Compared], index: int) -> Iterator[tuple[Any, Difference]]:
    """Yield the differences of one record, each with the key of its group."""
    first = runs[0].evidence
    if not all(run.evidence.has_same_outcome(index, first) for run in runs):
        outcomes = [run.evidence.outcomes[index] for run in runs]
        key = tuple(None if outcome is None else outcome.meaning for outcome in outcomes)
        yield key, Difference(None, tuple(map(_described, outcomes)))
        return
    own = runs[0].records.line(index)
    lines = [run.records.line(index) if run.evidence.differs(index, first) else own for run in runs]
    contents = [None if line is None else orjson.loads(line) for line in lines]
    for path in differing_paths(contents)[:MAX_FIELDS]:
        texts = tuple(value_at(content, path) for content in contents)
        difference = Difference(path, texts)
        yield (difference.kind, _partition(texts)), difference


def _partition(texts: Sequence[str]) -> tuple[int, ...]:
    """Return for each text the place of the first one that equals it."""
    return tuple(texts.index(text) for text in texts)


def differing_paths(contents: Sequence[Any], path: Path = ()) -> list[Path]:
    """Return the paths of the values that differ between records: as deep as all records have the same shape."""
    if len({canonical(content) for content in contents}) == 1:
        return []
    if all(type(content) is dict for content in contents):
        names = dict.fromkeys(name for content in contents for name in content)
        return [found for name in names for found in _below(contents, path, name)]
    if all(type(content) is list for content in contents) and len(set(map(len, contents))) == 1:
        return [
            found
            for place in range(len(contents[0]))
            for found in differing_paths([content[place] for content in contents], (*path, place))
        ]
    return [path]


def _below(contents: Sequence[dict[str, Any]], path: Path, name: str) -> list[Path]:
    if not all(name in content for content in contents):
        return [(*path, name)] if any(name in content for content in contents) else []
    return differing_paths([content[name] for content in contents], (*path, name))


def path_name(path: Path) -> str:
    """Return a path as rules write it."""
    return "".join(f"[{step}]" if type(step) is int else f".{step}" for step in path).removeprefix(".") or "the record"


def value_at(record: Any, path: Path) -> str:
    """Return the JSON of the value at a path, or the beginning of it; `absent` if there is none."""
    for step in path:
        try:
            record = record[step]
        except (LookupError, TypeError):
            return ABSENT
    return shown(record)


def _described(outcome: RecordOutcome | None) -> str:
    if outcome is None:
        return "no outcome"
    reason = f" ({outcome.reason})" if outcome.reason else ""
    return f"{' > '.join(outcome.route) or 'no stop'}, {outcome.ending.value}{reason}"
