"""Numbers as JSON has them: 10 and 10.0 are one value, and integers are exact up to 64 bits."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from metroline.routing.errors import ConditionError
from metroline.routing.rules.cel.values import (
    MAX_UNSIGNED,
    MIN_SIGNED,
    Budget,
    Duration,
    Time,
    Wrong,
    add,
    contains,
    divide,
    equal,
    multiply,
    negate,
    remainder,
    subtract,
)
from metroline.routing.rules.condition import Condition
from tests.support.worlds import examples

Calculation = Callable[[float, float], float]

CALCULATIONS: list[Calculation] = [add, subtract, multiply, divide, remainder]


@pytest.mark.parametrize(
    ("calculate", "numbers", "result"),
    [
        (add, (MAX_UNSIGNED - 1, 1), MAX_UNSIGNED),
        (add, (2**53, 1.0), 2**53 + 1),
        (add, (2.0**53, 1.0), 2**53 + 1),
        (add, (0.1, 0.2), 0.1 + 0.2),
        (subtract, (MIN_SIGNED + 1, 1), MIN_SIGNED),
        (subtract, (0, 5), -5),
        (multiply, (2**32, 2**31), 2**63),
        (multiply, (2**53 + 1, 1.0), 2**53 + 1),
        (multiply, (2.5, 4), 10),
        (multiply, (1e300, 1e-300), 1),
        (divide, (10, 4), 2.5),
        (divide, (10.0, 5), 2),
        (divide, (-7, 2), -3.5),
        (divide, (MAX_UNSIGNED, 1), MAX_UNSIGNED),
        (divide, (2**53 + 1, 1.0), 2**53 + 1),
        (divide, (0, -5), 0),
        (remainder, (7, -3), 1),
        (remainder, (-7, 3), -1),
        (remainder, (5.5, 2), 1.5),
        (remainder, (-5.5, 2), -1.5),
        (remainder, (2**53 + 1, 2.0), 1),
        (remainder, (MAX_UNSIGNED, 10), 5),
        (remainder, (MIN_SIGNED, -1), 0),
    ],
)
def test_calculations_are_those_of_a_pocket_calculator(
    calculate: Calculation, numbers: tuple[float, float], result: float
) -> None:
    assert calculate(*numbers) == result


@pytest.mark.parametrize(
    ("calculate", "numbers"),
    [
        (add, (MAX_UNSIGNED, 1)),
        (add, (MIN_SIGNED, -1)),
        (subtract, (MIN_SIGNED, 1)),
        (subtract, (0, MAX_UNSIGNED)),
        (multiply, (2**32, 2**32)),
        (multiply, (2.0**32, 2.0**32)),
        (multiply, (MIN_SIGNED, 2)),
    ],
)
def test_an_integer_beyond_64_bits_is_told_and_not_rounded(
    calculate: Calculation, numbers: tuple[float, float]
) -> None:
    with pytest.raises(Wrong, match=r"^the result does not fit into 64 bits$"):
        calculate(*numbers)


def test_no_calculation_ends_in_infinity() -> None:
    with pytest.raises(Wrong, match="too large for a number"):
        multiply(1e300, 1e300)
    with pytest.raises(Wrong, match="too large for a number"):
        divide(1e300, 1e-300)
    for calculate in (divide, remainder):
        for zero in (0, 0.0, -0.0):
            with pytest.raises(Wrong, match="division by zero"):
                calculate(1, zero)
    assert negate(2**63) == MIN_SIGNED
    with pytest.raises(Wrong, match="64 bits"):
        negate(MAX_UNSIGNED)


EDGES = [0, 1, -1, 2**31, 2**53 - 1, 2**53, 2**53 + 1, 2**63 - 1, 2**63, MAX_UNSIGNED, MIN_SIGNED, 10, 1000]
integers = st.sampled_from(EDGES) | st.integers(MIN_SIGNED, MAX_UNSIGNED)


def asked(condition: Condition, record: dict[str, Any]) -> bool | str:
    try:
        return condition.holds(record)
    except ConditionError as error:
        return str(error).replace(".0", "")


CONDITIONS = [
    Condition.compile(text)
    for text in (
        "a > b",
        "a == b",
        "a in [b, 5]",
        "a in [10, 1000, 9007199254740992]",
        "[a, b] == [b, a]",
        "a + b > 10",
        "a - 1 < b",
        "a * b == b * a && a * 3 > b",
        "a / 4 > b / 4",
        "a % 7 == b % 7 && a % b < 3",
        "-a < b",
        "string(a) == string(b) || string(a) == '10'",
        "type(a) == int",
        "int(a) == a && string(a).size() > 3",
        "l[a] == b",
        "timestamp(a) > timestamp(b)",
        "a.b == 1",
    )
]


representable = st.sampled_from([edge for edge in EDGES if float(edge) == edge]) | st.integers(-1_000, 1_000)


@given(st.sampled_from(CONDITIONS), representable, representable)
@examples(300)
def test_an_integer_and_the_same_number_with_a_point_give_the_same_answer(
    condition: Condition, one: int, other: int
) -> None:
    wanted = asked(condition, {"a": one, "b": other, "l": [5]})
    for a in (one, float(one)):
        for b in (other, float(other)):
            assert asked(condition, {"a": a, "b": b, "l": [5]}) == wanted


@given(integers, integers)
@examples(100)
def test_integers_of_64_bits_are_compared_exactly(one: int, other: int) -> None:
    record = {"a": one, "b": other}
    for sign, holds in (("<", one < other), ("==", one == other), (">=", one >= other), ("!=", one != other)):
        assert Condition.compile(f"a {sign} b").holds(record) is holds


def test_equality_is_that_of_kinds_and_values() -> None:
    values: list[Any] = [None, True, False, 0, 1, 2.5, "", "1", b"", [], [1], {}, {"a": 1}, Time(1), Duration(1)]
    for place, one in enumerate(values):
        for other_place, other in enumerate(values):
            assert equal(one, other, Budget(100)) is (place == other_place)
    assert equal([1, {"a": [2.0]}], [1.0, {"a": [2]}], Budget(100))
    assert not equal([1, True], [1, 1], Budget(100))
    assert not equal({"a": None}, {}, Budget(100))
    assert contains([1, "x"], 1.0, Budget(100))
    assert not contains([1], True, Budget(100))
    assert not contains({"a": 1}, 1, Budget(100))
