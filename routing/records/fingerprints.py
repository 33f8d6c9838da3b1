"""Exact comparison of JSON values, which unlike `==` in Python tells 1, 1.0 and True apart."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from types import NoneType
from typing import Any, cast

import orjson

from metroline.routing.records.field_sets import FieldSet

EXACT = 2**53
"""The smallest positive integer from which on floats no longer distinguish neighbouring integers."""

MAX_INTEGER = 2**64 - 1
MIN_INTEGER = -(2**63)
"""The range of integers that orjson reads and writes unchanged."""


SELF_MARKED = frozenset({str, NoneType})
SCALARS = frozenset({str, NoneType, int, bool})
NUMBERS = frozenset({int, float})


def fingerprint(value: Any) -> Any:
    """Return a hashable key that is equal for two values if and only if their JSON is equal.

    Strings and null are their own keys, and numbers are kept with their type, which is cheap. Every other value, and
    0.0, which equals -0.0 in Python, is represented by its type and its canonical JSON.
    """
    kind = type(value)
    if kind is str or value is None:
        return value
    if kind is int or kind is bool or (kind is float and 0.0 < abs(value) < math.inf):
        return (kind, value)
    encoded = canonical(value)
    if kind is float:
        return None if encoded == b"null" else (kind, encoded)
    plain = orjson.loads(encoded)
    return (list, encoded) if isinstance(plain, (list, dict)) else fingerprint(plain)


def as_sent(record: dict[str, Any], reads: FieldSet) -> dict[str, Any]:
    """Return a copy of these fields as the next reader will decode them; of all fields if `reads` is None.

    For example, tuples become lists, and NaN becomes null.
    """
    if reads is None:
        return cast("dict[str, Any]", orjson.loads(orjson.dumps(record)))
    sent = {}
    for name in reads:
        value = record.get(name)
        sent[name] = value if type(value) in SCALARS else plain(value)
    return sent


def plain(value: Any) -> Any:
    """Return a value as it is after encoding it to JSON and decoding it again."""
    return value if type(value) in SCALARS else orjson.loads(orjson.dumps(value))


def fingerprints(records: Sequence[dict[str, Any]], names: Sequence[str]) -> list[Any]:
    """Return a hashable key for each record; two keys are equal if these fields of the records are."""
    return _marks(records, names, fingerprint)


def match_keys(records: Sequence[dict[str, Any]], names: Sequence[str]) -> list[Any]:
    """Return for each record its key in a `match` index on these fields: a tuple, or a bare key for a single field."""
    return _marks(records, names, _match_key_as_sent)


def _marks(records: Sequence[dict[str, Any]], names: Sequence[str], mark: Callable[[Any], Any]) -> list[Any]:
    """Return for each record the mark of its only field, or a tuple with the marks of all fields."""
    if len(records) == 1:  # computing column by column does not pay for a single record
        marks = tuple([mark(records[0].get(name)) for name in names])
        return [marks[0] if len(marks) == 1 else marks]
    columns = [_column(records, name, mark) for name in names]
    return columns[0] if len(columns) == 1 else list(zip(*columns, strict=True)) if columns else [()] * len(records)


def _column(records: Sequence[dict[str, Any]], name: str, mark: Callable[[Any], Any]) -> list[Any]:
    """Return the marks of one field in all records; strings and null, the most frequent values, are their own marks."""
    values = [record.get(name) for record in records]
    return values if SELF_MARKED.issuperset(map(type, values)) else list(map(mark, values))


def canonical(value: Any) -> bytes:
    """Return a value as JSON with sorted keys."""
    return orjson.dumps(value, option=orjson.OPT_SORT_KEYS)


def match_key(value: Any) -> Any:
    """Return the key of a value in a `match` index; values that are equal in CEL have equal keys."""
    kind = type(value)
    if kind is str:
        return value
    if kind is bool:
        return (value,)
    if kind is int or kind is float:
        return float(value)
    return None


def _match_key_as_sent(value: Any) -> Any:
    return match_key(plain(value))


def differs_beyond_floats(wanted: Any, found: Any) -> bool:
    """Return whether two values with the same `match_key` differ, as numbers that floats do not tell apart may."""
    if type(wanted) not in NUMBERS or -EXACT < wanted < EXACT:
        return False
    return type(found) not in NUMBERS or wanted != found


def matches(wanted: Any, found: Any) -> bool:
    """Return whether the value of a `match`, or one of several, equals that of a record, as the index decides it."""
    if type(wanted) is tuple:
        return any(matches(one, found) for one in wanted)
    return bool(match_key(wanted) == match_key(found)) and not differs_beyond_floats(wanted, found)


def have_changed(
    before: Sequence[dict[str, Any]], after: Sequence[dict[str, Any]], plan_fields: FieldSet
) -> list[bool]:
    """Return for each record whether one of its plan fields has changed, which makes its plan stale.

    `before` must be taken with `as_sent` before the service runs, since services change records in place.
    """
    if plan_fields is None:
        return [canonical(old) != canonical(new) for old, new in zip(before, after, strict=True)]
    changed = [False] * len(before)
    for name in plan_fields:
        was, is_now = fingerprints(before, [name]), fingerprints(after, [name])
        if was != is_now:
            changed = [known or old != new for known, old, new in zip(changed, was, is_now, strict=True)]
    return changed


def changed_fields(before: dict[str, Any], after: dict[str, Any], plan_fields: FieldSet) -> tuple[str, ...]:
    """Return the sorted names of the plan fields that have changed; `before` is as in `have_changed`."""
    names = before.keys() | after.keys() if plan_fields is None else plan_fields
    found = [name for name in names if fingerprint(plain(before.get(name))) != fingerprint(plain(after.get(name)))]
    return tuple(sorted(found))
