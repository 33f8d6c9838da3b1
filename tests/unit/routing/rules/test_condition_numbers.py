"""JSON has one kind of number: a condition gives the same answer whether a record says 10 or 10.0."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import assume, given

from metroline.routing.errors import ConditionError
from metroline.routing.rules.condition import Condition
from tests.support.worlds import Record, examples, records
from tests.unit.routing.rules.test_condition_properties import texts


def decimal(value: Any) -> Any:
    """Return a value with each integer that a float can hold written with a decimal point."""
    if isinstance(value, dict):
        return {name: decimal(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [decimal(inner) for inner in value]
    return float(value) if type(value) is int and abs(value) <= 2**53 else value


def answer(condition: Condition, record: Record) -> bool | None:
    """Return the answer for a record; None if there is none."""
    try:
        return condition.holds(record)
    except ConditionError:
        return None


@given(texts, records)
@examples(200)
def test_an_integer_and_the_same_number_with_a_decimal_point_are_one_value(text: str, record: Record) -> None:
    try:
        condition = Condition.compile(text)
    except ConditionError:
        assume(False)
    assert answer(condition, record) == answer(condition, decimal(record))


@pytest.mark.parametrize(
    ("condition", "record", "holds"),
    [
        ("total * 1.2 > 100.0", {"total": 100}, True),
        ("total * 1.2 > 100.0", {"total": 100.0}, True),
        ("total / 4 > 2.4", {"total": 10}, True),
        ("total / 4 > 2.4", {"total": 10.0}, True),
        ("total % 4 == 2", {"total": 10.0}, True),
        ("total % 4 == -2", {"total": -10}, True),
        ("type(total) == int", {"total": 10.0}, True),
        ("string(total) == '10'", {"total": 10.0}, True),
        ("items[total] == 'b'", {"total": 1.0, "items": ["a", "b"]}, True),
        ("total in [1, 2]", {"total": 2.0}, True),
        ("id == 9007199254740993", {"id": 9007199254740993}, True),
        ("id == 9007199254740993", {"id": 9007199254740992}, False),
        ("id == 9007199254740993", {"id": 9007199254740992.0}, False),
        ("id in [9007199254740993]", {"id": 9007199254740992.0}, False),
        ("id > 9007199254740992.0", {"id": 9007199254740993}, True),
        ("id - 1 == 18446744073709551614u", {"id": 18446744073709551615}, True),
    ],
)
def test_numbers_are_compared_and_calculated_as_in_json(condition: str, record: Record, holds: bool) -> None:
    assert Condition.compile(condition).holds(record) is holds


@pytest.mark.parametrize(
    ("condition", "record", "reason"),
    [
        ("id + 1 > 0", {"id": 18446744073709551615}, "does not fit into 64 bits"),
        ("id - 1 < 0", {"id": -9223372036854775808}, "does not fit into 64 bits"),
        ("a / b > 1", {"a": 1, "b": 0}, "division by zero"),
        ("a / b > 1", {"a": 1.5, "b": 0.0}, "division by zero"),
        ("a % b > 1", {"a": 1, "b": 0}, "division by zero"),
        ("a * a > 1", {"a": 1e200}, "too large"),
        ("int(a) > 1", {"a": 1e300}, "does not fit into 64 bits"),
    ],
)
def test_a_result_that_is_no_number_is_told(condition: str, record: Record, reason: str) -> None:
    with pytest.raises(ConditionError, match=reason):
        Condition.compile(condition).holds(record)
