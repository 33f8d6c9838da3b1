"""Explains a decision rule by rule: which rules were tried, what they read, and which one held."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import orjson

from metroline.routing.errors import ConditionError
from metroline.routing.records.fingerprints import fingerprint, matches
from metroline.routing.rules.cel.reading import Path
from metroline.routing.rules.cel.values import Budget
from metroline.routing.rules.condition import MAX_OPERATIONS, Condition
from metroline.routing.rules.rule_meta import NO_META, RuleMeta, as_variable
from metroline.routing.rules.stop_rules import StopRules

MAX_VALUE_CHARACTERS = 60
"""Maximum number of characters of a value's JSON that are shown."""

Changes = tuple[dict[str, str], tuple[str, ...]]
"""The fields that a service set, with their values as JSON, and the fields that it removed."""

NO_CHANGES: Changes = ({}, ())


@dataclass(frozen=True, slots=True)
class Trial:
    """One rule that was tried; `read` maps each value that it read, such as `customer.plan`, to its JSON."""

    rule: str
    holds: bool
    verdict: str
    read: dict[str, str]


@dataclass(frozen=True, slots=True)
class Explained:
    """The decision after one stop: the rules that were tried, in order, and the next stop or the outcome."""

    after: str
    trials: tuple[Trial, ...]
    verdict: str
    sets: dict[str, str] = field(default_factory=dict)
    """The fields that the service at the stop set, with their values as JSON."""
    removes: tuple[str, ...] = ()
    """The fields that the service removed."""
    attempts: tuple[str, ...] = ()
    """The failed attempts at the stop, each with its number and its cause."""
    record: bytes = b""
    """The record as it left the stop, as a line of JSON."""
    waits: tuple[str, ...] = ()
    """The waits at the stop that its service asked for with `Wait`, each as a sentence."""

    def as_json(self) -> dict[str, Any]:
        trials = [
            {"rule": trial.rule, "holds": trial.holds, "verdict": trial.verdict, "read": trial.read}
            for trial in self.trials
        ]
        changes = {
            "attempts": list(self.attempts),
            "waits": list(self.waits),
            "sets": self.sets,
            "removes": list(self.removes),
        }
        record = orjson.loads(self.record) if self.record else None
        return {"after": self.after} | changes | {"record": record, "tried": trials, "verdict": self.verdict}


def changes(before: dict[str, Any], after: dict[str, Any]) -> Changes:
    """Return the fields in which a record differs from what it was before."""
    sets = {
        name: shown(value)
        for name, value in after.items()
        if name not in before or fingerprint(value) != fingerprint(before[name])
    }
    return sets, tuple(name for name in before if name not in after)


def trials(stop_rules: StopRules, record: dict[str, Any], meta: RuleMeta = NO_META) -> Iterator[Trial]:
    """Yield the rules after a stop that are tried for a record, up to the one that holds or fails."""
    budget = Budget(MAX_OPERATIONS)

    @cache
    def at(path: Path) -> str:
        """Return the value at a path as it is shown, which takes a while for a large one that many rules read."""
        return shown(_value_at(record, path))

    for compiled in stop_rules.rules:
        rule, condition = compiled.rule, compiled.condition
        read = {name: at((name,)) for name in rule.match}
        if not all(matches(value, record.get(name)) for name, value in rule.match.items()):
            yield Trial(rule.name, False, "match does not fit", read)
            continue
        if condition is not None:
            read |= _values_read(condition, at, meta)
            try:
                holds = condition.holds(record, meta, budget)
            except ConditionError as error:
                yield Trial(rule.name, False, f"rule_error: {error}", read)
                return
            if not holds:
                yield Trial(rule.name, False, f"{rule.when} does not hold", read)
                continue
        yield Trial(rule.name, True, "holds", read)
        return


def shown(value: Any) -> str:
    """Return the JSON of a value, or the beginning of it."""
    text = orjson.dumps(value).decode()
    return text if len(text) <= MAX_VALUE_CHARACTERS else text[: MAX_VALUE_CHARACTERS - 3] + "..."


def fields_read(condition: Condition) -> list[str]:
    """Return the names of all that a condition reads, as it writes them: fields by their paths, and those of `meta`."""
    fields = [*map(_path_name, _paths_read(condition)), *(f"meta.{name}" for name in condition.meta)]
    return [*sorted(set(fields)), *(["the whole record"] if condition.reads is None else [])]


def _paths_read(condition: Condition) -> list[Path]:
    paths = [path for path in condition.paths if path and isinstance(path[0], str)]
    known = {path[0] for path in paths}
    return paths + [(name,) for name in condition.reads or () if name not in known]


def _values_read(condition: Condition, at: Callable[[Path], str], meta: RuleMeta) -> dict[str, str]:
    """Return the values that a condition reads, nested ones by their paths, with the fields sorted by name."""
    read = {_path_name(path): at(path) for path in _paths_read(condition)}
    own = as_variable(meta) if condition.meta else {}
    read |= {f"meta.{name}": shown(own[name]) for name in condition.meta}
    return dict(sorted(read.items())) | ({"record": "the whole record"} if condition.reads is None else {})


def _path_name(path: Sequence[Any]) -> str:
    """Return a path as a condition writes it, with `[]` for any element of a list."""
    steps = [f".{step}" if isinstance(step, str) else f"[{step}]" if isinstance(step, int) else "[]" for step in path]
    return "".join(steps).removeprefix(".")


def _value_at(value: Any, path: Sequence[Any]) -> Any:
    """Return the value at a path; where the path leads through any element of a list, the list of their values."""
    for at, step in enumerate(path):
        if isinstance(step, (str, int)):
            if isinstance(value, dict) and isinstance(step, str):
                value = value.get(step)
            elif isinstance(value, list) and isinstance(step, int) and 0 <= step < len(value):
                value = value[step]
            else:
                return None
        elif isinstance(value, list):
            return [_value_at(element, path[at + 1 :]) for element in value]
        else:
            return value
    return value
