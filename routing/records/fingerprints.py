"""How values are compared, exactly where Python calls 1, 1.0 and True the same, and how a header's are checked."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from types import NoneType
from typing import Any, cast

import orjson

from metroline.routing.records.field_sets import FieldSet

EXACT = 2**53
"""From here on, integers are no longer told apart as floats."""

MAX_INTEGER = 2**64 - 1
MIN_INTEGER = -(2**63)
"""The integers that JSON in Python keeps."""


SELF_MARKED = frozenset({str, NoneType})
SCALARS = frozenset({str, NoneType, int, bool})


def fingerprint(value: Any) -> Any:
    """What tells a value from every other once it is JSON: its type and its canonical bytes; hashable.

    Text, numbers and null stand for themselves beside their type, which costs nothing; but 0.0 equals -0.0 in Python.
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
    """These fields of a record as the bus will carry them: tuples become lists, NaN becomes null; all where None."""
    if reads is None:
        return cast("dict[str, Any]", orjson.loads(orjson.dumps(record)))
    sent = {}
    for name in reads:
        value = record.get(name)
        sent[name] = value if type(value) in SCALARS else plain(value)
    return sent


def plain(value: Any) -> Any:
    """What JSON will make of a value."""
    return value if type(value) in SCALARS else orjson.loads(orjson.dumps(value))


def fingerprints(records: Sequence[dict[str, Any]], names: Sequence[str]) -> list[Any]:
    """For each record what tells it from others by these fields; hashable."""
    return _marks(records, names, fingerprint)


def match_keys(records: Sequence[dict[str, Any]], names: Sequence[str]) -> list[Any]:
    """For each record the key by which an index of `match` on these fields finds it; not in a tuple if it is one."""
    return _marks(records, names, _match_key_as_sent)


def _marks(records: Sequence[dict[str, Any]], names: Sequence[str], mark: Callable[[Any], Any]) -> list[Any]:
    """For each record the mark of its only field, or a tuple of all fields' marks."""
    if len(records) == 1:  # columns are not worth it
        marks = tuple([mark(records[0].get(name)) for name in names])
        return [marks[0] if len(marks) == 1 else marks]
    columns = [_column(records, name, mark) for name in names]
    return columns[0] if len(columns) == 1 else list(zip(*columns, strict=True)) if columns else [()] * len(records)


def _column(records: Sequence[dict[str, Any]], name: str, mark: Callable[[Any], Any]) -> list[Any]:
    """A field's values of all records, marked; text and null, the most frequent ones, are their own marks."""
    values = [record.get(name) for record in records]
    return values if SELF_MARKED.issuperset(map(type, values)) else list(map(mark, values))


def canonical(value: Any) -> bytes:
    """A value as JSON with sorted keys."""
    return orjson.dumps(value, option=orjson.OPT_SORT_KEYS)


def match_key(value: Any) -> Any:
    """What a value is found by in an index of `match`: equal keys where CEL's `==` may hold."""
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
    """Whether two numbers with the same `match_key` are different all the same; CEL compares int with int exactly."""
    if type(wanted) is not int or -EXACT < wanted < EXACT:
        return False
    return wanted != found if type(found) is int else type(found) is not float


def matches(wanted: Any, found: Any) -> bool:
    """What CEL's `==` says of a `match` value and a record's, as the index finds it."""
    return bool(match_key(wanted) == match_key(found)) and not differs_beyond_floats(wanted, found)


def have_changed(
    before: Sequence[dict[str, Any]], after: Sequence[dict[str, Any]], plan_fields: FieldSet
) -> list[bool]:
    """For which records something that a plan was built on is no longer what it was: their plans are stale.

    What was `before` is taken before the service runs (`as_sent`), since services change records in place.
    """
    if plan_fields is None:
        return [canonical(old) != canonical(new) for old, new in zip(before, after, strict=True)]
    changed = [False] * len(before)
    for name in plan_fields:
        was, is_now = fingerprints(before, [name]), fingerprints(after, [name])
        if was != is_now:
            changed = [known or old != new for known, old, new in zip(changed, was, is_now, strict=True)]
    return changed
