"""How values are compared, exactly where Python calls 1, 1.0 and True the same, and how a header's are checked."""

from __future__ import annotations

import reprlib
from collections.abc import Iterable
from types import NoneType
from typing import Any, cast

import orjson

from routing.errors import MetrolineError

EXACT = 2**53
"""From here on, integers are no longer told apart as floats."""

MAX_INTEGER = 2**64 - 1
MIN_INTEGER = -(2**63)
"""The integers that JSON in Python keeps."""

Reads = frozenset[str] | None
"""The fields that a decision looked at; None stands for the whole record."""


def united(reads: Iterable[Reads]) -> Reads:
    """All that several decisions looked at."""
    fields: frozenset[str] = frozenset()
    for one in reads:
        if one is None:
            return None
        fields |= one
    return fields


def fingerprint(value: Any) -> Any:
    """What tells a value from every other once it is JSON: its type and its canonical bytes; hashable.

    Text, integers and null stand for themselves beside their type, which costs nothing.
    """
    kind = type(value)
    if kind is str or value is None:
        return value
    if kind is int or kind is bool:
        return (kind, value)
    encoded = canonical(value)
    if kind is float:
        return None if encoded == b"null" else (kind, encoded)
    plain = orjson.loads(encoded)
    return (list, encoded) if isinstance(plain, (list, dict)) else fingerprint(plain)


def as_sent(record: dict[str, Any], reads: Reads) -> dict[str, Any]:
    """The record as the bus will carry it, as far as `reads` goes: tuples become lists, NaN becomes null.

    It is the same object where nothing changes, which is nearly always.
    """
    if reads is None:
        return cast("dict[str, Any]", orjson.loads(orjson.dumps(record)))
    odd = {}
    for name in reads:
        kind = type(record.get(name))
        if kind is not str and kind is not int and kind is not bool and kind is not NoneType:
            odd[name] = orjson.loads(orjson.dumps(record[name]))
    return record | odd if odd else record


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


def differs_beyond_floats(wanted: Any, found: Any) -> bool:
    """Whether two numbers with the same `match_key` are different all the same; CEL compares int with int exactly."""
    if type(wanted) is not int or -EXACT < wanted < EXACT:
        return False
    return wanted != found if type(found) is int else type(found) is not float


def matches(wanted: Any, found: Any) -> bool:
    """What CEL's `==` says of a `match` value and a record's, as the index finds it."""
    return bool(match_key(wanted) == match_key(found)) and not differs_beyond_floats(wanted, found)


def text(value: Any) -> str:
    """The value, which must be text; like those below it raises `MetrolineError` for any other."""
    if type(value) is not str:
        raise MetrolineError(f"{reprlib.repr(value)} is no text")
    return value


def text_or_none(value: Any) -> str | None:
    return None if value is None else text(value)


def natural(value: Any) -> int:
    """The value, which must be a whole number from 0 on."""
    if type(value) is not int or value < 0:
        raise MetrolineError(f"{reprlib.repr(value)} is no number of this kind")
    return value


def seconds(value: Any) -> float:
    """The value, which must be a number; `True` is none."""
    if type(value) is not float and type(value) is not int:
        raise MetrolineError(f"{reprlib.repr(value)} is no time")
    return float(value)
