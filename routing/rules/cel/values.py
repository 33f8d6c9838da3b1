"""The values of CEL as JSON has them: their kinds, equality, and arithmetic.

JSON has one kind of number, so that 10 and 10.0 are the same value here, where CEL has int, uint and double: they are
equal, can be calculated with each other, and a division gives what a pocket calculator gives.
"""

from __future__ import annotations

import math
from enum import StrEnum
from typing import Any

MAX_UNSIGNED = 2**64 - 1
MIN_SIGNED = -(2**63)
"""The range of integers, which is that of JSON in most programs. What goes beyond it is told, not rounded."""

NUMBERS = frozenset({int, float})
SCALARS = frozenset({str, int, float, bool, type(None), bytes})


class Kind(StrEnum):
    """The kinds of values, in the words of messages."""

    NULL = "null"
    BOOL = "true or false"
    NUMBER = "a number"
    TEXT = "text"
    BYTES = "bytes"
    LIST = "a list"
    OBJECT = "an object"
    TIME = "a time"
    DURATION = "a duration"
    TYPE = "a type"


class TypeName(str):
    """A type as a value: what `type` returns, and `int` in `type(a) == int`."""

    __slots__ = ()


class Time(int):
    """A point in time, in microseconds since 1970 began in UTC."""

    __slots__ = ()


class Duration(int):
    """A duration in microseconds."""

    __slots__ = ()


KINDS: dict[type, Kind] = {
    type(None): Kind.NULL,
    bool: Kind.BOOL,
    int: Kind.NUMBER,
    float: Kind.NUMBER,
    str: Kind.TEXT,
    bytes: Kind.BYTES,
    list: Kind.LIST,
    dict: Kind.OBJECT,
    Time: Kind.TIME,
    Duration: Kind.DURATION,
    TypeName: Kind.TYPE,
}
"""The kind of a value, by its type in Python."""


class Undecided(Exception):
    """Raised when a part of a condition has no value; `&&`, `||` and some comprehensions may do without it."""


class NullMet(Undecided):
    """Raised when null, or a field that is absent, stands where CEL needs another value."""


class Wrong(Undecided):
    """Raised when a value is not what an operation needs. The text says so."""


class Budget:
    """The work that deciding about a record may take, in parts of conditions that are evaluated."""

    __slots__ = ("left",)

    def __init__(self, operations: int) -> None:
        self.left = operations

    def spend(self, operations: int) -> None:
        """Take these operations from what is left; raise `OverBudget`, which nothing absorbs, if that is not enough."""
        self.left -= operations
        if self.left < 0:
            raise OverBudget


class OverBudget(Exception):
    """Raised when a record takes more work than a budget allows."""


def kind_of(value: Any) -> Kind:
    return KINDS[type(value)]


def equal(one: Any, other: Any, budget: Budget) -> bool:
    """Return whether two values are equal. Values of different kinds are not."""
    kind = type(one)
    if kind is not type(other):
        return kind in NUMBERS and type(other) in NUMBERS and bool(one == other)
    if kind is list:
        if len(one) != len(other):
            return False
        budget.spend(len(one))
        return all(equal(mine, yours, budget) for mine, yours in zip(one, other, strict=True))
    if kind is dict:
        if one.keys() != other.keys():
            return False
        budget.spend(len(one))
        return all(equal(value, other[name], budget) for name, value in one.items())
    return bool(one == other)


def contains(values: Any, wanted: Any, budget: Budget) -> bool:
    """Return whether a list has an equal element, or an object has a field of this name."""
    if type(values) is dict:
        return type(wanted) is str and wanted in values
    if type(values) is not list:
        raise NullMet if values is None else Wrong(f"`in` needs a list or an object, not {kind_of(values)}")
    budget.spend(len(values))
    return any(equal(value, wanted, budget) for value in values)


def whole(value: float) -> int | float:
    """Return a number without a fraction as an integer."""
    return int(value) if type(value) is float and value.is_integer() else value


def exact(value: float) -> float:
    """Return a number without a fraction as an integer, if it fits into 64 bits: 10.0 counts as 10 does."""
    if type(value) is float and MIN_SIGNED <= value <= MAX_UNSIGNED and value.is_integer():
        return int(value)
    return value


def in_range(value: int) -> int:
    """Return an integer of 64 bits; raise `Wrong` for one that needs more."""
    if MIN_SIGNED <= value <= MAX_UNSIGNED:
        return value
    raise Wrong("the result does not fit into 64 bits")


def _result(value: float) -> float:
    if type(value) is int:
        return in_range(value)
    if math.isfinite(value):
        return value
    raise Wrong("the result is too large for a number")


def add(one: float, other: float) -> float:
    return _result(exact(one) + exact(other))


def subtract(one: float, other: float) -> float:
    return _result(exact(one) - exact(other))


def multiply(one: float, other: float) -> float:
    return _result(exact(one) * exact(other))


def negate(value: float) -> float:
    return _result(-exact(value))


def divide(one: float, other: float) -> float:
    """Return the quotient: 10 / 4 is 2.5, and that of integers is exact where it is an integer."""
    if other == 0:
        raise Wrong("division by zero")
    one, other = exact(one), exact(other)
    if type(one) is int and type(other) is int and one % other == 0:
        return in_range(one // other)
    return _result(one / other)


def remainder(one: float, other: float) -> float:
    """Return what is left of a division that is rounded towards zero, so with the sign of the first number."""
    if other == 0:
        raise Wrong("division by zero")
    one, other = exact(one), exact(other)
    if type(one) is int and type(other) is int:
        return (abs(one) % abs(other)) * (1 if one >= 0 else -1)
    return math.fmod(one, other)
