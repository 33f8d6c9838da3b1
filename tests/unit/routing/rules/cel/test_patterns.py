"""The price of a regular expression grows with what the runtime has to compile for a search."""

from __future__ import annotations

import pytest

from metroline.routing.errors import ConditionError
from metroline.routing.rules.cel.patterns import OF_UNICODE, PLAIN, SEARCH, WIDE, price_of
from metroline.routing.rules.condition import Condition


@pytest.mark.parametrize(
    ("pattern", "price"),
    [
        ("", 0),
        ("abc", 3 * PLAIN),
        ("a{30}", 30 * PLAIN),
        ("(a{30}){33}", 990 * PLAIN),
        ("[a-z]{2}-[a-z]{3,4}", 6 * WIDE + PLAIN),
        ("[]a]{2}[[:alpha:]]", 3 * WIDE),
        (r"\pL{3}", 3 * OF_UNICODE),
        (r"\p{Greek}", OF_UNICODE),
        (r"[^\pN\]]", OF_UNICODE + WIDE),
        ("(?i)ab", 20 * 2 * PLAIN + 20 * PLAIN),
    ],
)
def test_a_repetition_multiplies_the_price_of_what_stands_before_it(pattern: str, price: int) -> None:
    assert price_of(pattern) == SEARCH + price


@pytest.mark.parametrize(
    "pattern", ["^[A-Z]{2}-[0-9]{1,6}$", r"^\d{4}-\d{2}-\d{2}$", r"(?i)^[a-z0-9._%+-]+@[a-z0-9.-]+$", r"^\pL+ \pL+$"]
)
def test_usual_patterns_are_allowed(pattern: str) -> None:
    Condition.compile(f"a.matches(r'{pattern}')")


@pytest.mark.parametrize("pattern", [r"\pL{50}", r"(\PN{5}){5}", r"(?i)[^\pL]{2}"])
def test_a_pattern_that_takes_long_to_compile_is_refused_or_over_budget(pattern: str) -> None:
    with pytest.raises(ConditionError, match="is too large for a regular expression"):
        Condition.compile(f"a.matches(r'{pattern}')")
    with pytest.raises(ConditionError, match=r"over budget|too large"):
        Condition.compile("a.matches(p)").holds({"a": "", "p": pattern})
