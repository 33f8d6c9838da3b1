"""Whatever is written as a condition, and whatever record comes: an answer or a `ConditionError`, and nothing else."""

from __future__ import annotations

import json
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from metroline.routing.errors import ConditionError
from metroline.routing.rules.condition import Condition
from tests.support.worlds import examples

PIECES = [
    *("a", "b.c", "record", "meta", "meta.key", "l[0]", "int", "x", "if", "_", "Zoë", "`q`"),
    *("null", "true", "1", "-1", "2.5", "1e999", "0xFF", "18446744073709551615u", "99999999999999999999", "''", "'x'"),
    *(
        '"\\ud800"',
        "b'\\xff'",
        "r'\\'",
        "'''",
        "'",
        '"',
        "'🚇'",
        "\ud800",
        "\0",
        "\n",
        "\r",
        "\u2028",
        "\ufeff",
        " ",
        "//",
    ),
    *(
        "==",
        "!=",
        "<",
        ">=",
        "&&",
        "||",
        "!",
        "-",
        "+",
        "*",
        "/",
        "%",
        "?",
        ":",
        " in ",
        ".",
        ",",
        "=",
        "&",
        "@",
        "$",
        "\\",
    ),
    *("(", ")", "[", "]", "{", "}", "has(", "size(", "type(", "timestamp(", "duration('1h')", "string(", "int("),
    *(
        ".all(x, ",
        ".exists(x, ",
        ".exists_one(x, ",
        ".map(x, ",
        ".filter(x, ",
        ".exists(",
        ".matches('(')",
        ".matches(",
    ),
    *(".getHours('UTC')", ".getFullYear()", "Money{a: 1}", ".?b", "[?0]"),
]


def compiled(text: str) -> Condition | None:
    """Return a condition, or None if it is refused."""
    try:
        return Condition.compile(text)
    except ConditionError:
        return None


def answer(condition: Condition, record: Any) -> bool | str:
    """Return the answer of a condition for a record, or the message why there is none."""
    try:
        return condition.holds(record)
    except ConditionError as error:
        return str(error)


@given(st.lists(st.sampled_from(PIECES), max_size=12).map("".join) | st.text(max_size=30))
@examples(300)
def test_any_text_compiles_or_is_refused(text: str) -> None:
    condition = compiled(text)
    if condition is not None:
        assert answer(condition, {"a": [1], "b": {"c": "x"}}) != ""


@pytest.mark.parametrize(
    "text",
    [
        *(
            "(" * 50_000,
            "[" * 50_000,
            "!" * 50_000 + "a",
            "-" * 50_000 + "a",
            "a" + ".b" * 40_000,
            "a" + "[0]" * 30_000,
        ),
        *(
            "a" * 100_000,
            "a == '" + "🚇" * 90_000 + "'",
            "a + " * 20_000 + "1",
            "a || " * 15_000 + "b",
            "{'k': " * 10_000,
        ),
        *(
            "a in [" + "1, " * 30_000 + "1]",
            "a ? b : " * 10_000 + "c",
            "a.map(x, " * 5_000,
            "'" * 99_999,
            "\n" * 99_999,
        ),
        *("f(" * 30_000 + "a" + ")" * 30_000, "a.exists(x, " * 40 + "a" + ")" * 40, "//" + "x" * 90_000),
    ],
    ids=lambda text: text[:12],
)
def test_a_condition_of_a_hundred_thousand_characters_does_no_harm(text: str) -> None:
    condition = compiled(text)
    if condition is not None:
        assert answer(condition, {"a": [1], "b": {"c": "x"}}) != ""


CONDITIONS = [
    Condition.compile(text)
    for text in (
        "a",
        "!a",
        "a == b",
        "a != [b] && a != {'k': b}",
        "a < b",
        "a + b == b + a",
        "a - b > 0 || a * b > 0",
        "a / b > 1 || a % b > 1",
        "-a < 0",
        "a in b",
        "a in [1, 'x', null, true, 1e300]",
        "a[b] == 1",
        "a[0].k == a['k']",
        "a.k.k.k == b",
        "has(a.k) && has(a.k.k)",
        "a.all(x, x == b)",
        "a.exists(x, x > b || x.k == 1)",
        "a.exists_one(x, x == 1)",
        "a.filter(x, x.k > 1).map(x, x.k) == b",
        "a.exists(x, x.exists(y, y == b))",
        "size(a) > size(b)",
        "a.startsWith(b) || a.endsWith(b) || a.contains(b)",
        "a.matches(b)",
        "a.matches('^.{1,5}$')",
        "int(a) > 1",
        "uint(a) > 1",
        "double(a) > 1.0",
        "string(a) == string(b)",
        "bool(a)",
        "bytes(a) == bytes(b)",
        "string(bytes(a)) == a",
        "type(a) == type(b) || type(a) in [int, string]",
        "timestamp(a) > timestamp(b)",
        "string(timestamp(a)) == b",
        "timestamp(a).getHours(b) > 1",
        "duration(a) < duration(b)",
        "timestamp(a) + duration(b) > timestamp(0)",
        "a ? b : a",
        "a && b",
        "a || b",
        "record == {'a': b}",
        "size(record) > 1 && record[a] == b",
    )
]

numbers = st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.integers(-(2**64), 2**64)
texts = st.text() | st.sampled_from(
    [
        "2025-01-17",
        "9999-12-31T23:59:59.999999999Z",
        "1h",
        "-320000000000s",
        "Europe/Berlin",
        "[",
        "(?i)x",
        "\0",
        "1e400",
    ]
)
scalars = st.none() | st.booleans() | numbers | texts
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["k", "a", "🚇"]), inner, max_size=2),
)


@given(values, values)
@examples(100)
def test_any_record_gets_an_answer_or_a_message_from_every_condition(a: Any, b: Any) -> None:
    for condition in CONDITIONS:
        assert answer(condition, {"a": a, "b": b}) != ""


def nested(depth: int, opening: str, closing: str) -> Any:
    return json.loads(opening * depth + "1" + closing * depth)


ODD: list[Any] = [
    nested(900, "[", "]"),
    nested(900, '{"k": ', "}"),
    nested(450, '[{"k": ', "}]"),
    10**400,
    -(10**400),
    1e308,
    -1e308,
    5e-324,
    2**64,
    -(2**63) - 1,
    "\ud800",
    "\0",
    "\U0010ffff\ufeff\u202e",
    "e\u0301" * 1_000,
    "9" * 5_000,
    "1e400",
    [None] * 5_000,
    [[]] * 5_000,
    dict.fromkeys(map(str, range(5_000))),
    {"": {"": None}},
    {"k": {"k": {"k": [1]}}},
    "a" * 200_000,
]


@pytest.mark.parametrize("number", range(len(ODD)), ids=lambda number: f"{ODD[number]!r:.20}")
def test_an_odd_record_gets_an_answer_or_a_message_from_every_condition(number: int) -> None:
    for condition in CONDITIONS:
        for other in (ODD[number], 1, "x", None, ODD[number - 1]):
            assert answer(condition, {"a": ODD[number], "b": other}) != ""
            assert answer(condition, {"a": other, "b": ODD[number]}) != ""


def test_a_record_as_deep_as_json_is_read_is_compared_or_refused() -> None:
    deep, copied = (orjson.loads(b'{"k":' * 1_000 + b"1" + b"}" * 1_000) for _ in range(2))
    for condition in CONDITIONS:
        assert answer(condition, {"a": deep, "b": copied}) != ""
    with pytest.raises(ConditionError, match="nested too deeply"):
        Condition.compile("a == b").holds({"a": deep, "b": copied})
