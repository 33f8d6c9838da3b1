"""Fields that a condition reads, found in its text: names, literals on `record`, nested places, the whole record."""

from __future__ import annotations

import re
from collections.abc import Set as AbstractSet
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from metroline.routing.errors import ConditionError
from metroline.routing.rules.condition import MAX_CONDITION_CHARACTERS, Condition
from metroline.routing.rules.condition_fields import ANY
from tests.support.worlds import examples

FIELDS = [
    ("a == 1", {"a"}),
    ("a.b.c == 1", {"a"}),
    ("a['b'] == c['d']", {"a", "c"}),
    ("a == 'b' + \"c\"", {"a"}),
    ("a == '''b\nc''' || a == \"\"\"d\"\"\"", {"a"}),
    ("a == 'it\\'s b' // and c", {"a"}),
    ("a == 'no // comment' && b", {"a", "b"}),
    ("// only d\na // b\n== c", {"a", "c"}),
    (r'''a == r"\" && b == "c"''', {"a", "b"}),
    (r"""a == r'\' && b == 'c'""", {"a", "b"}),
    (r'''a == R"""\""" && b == "c"''', {"a", "b"}),
    (r"""bytes(a) == b"\"c" && bytes(b) == br"\"""", {"a", "b"}),
    ("size(a) > 1 && b.size() > 1 && size > 1", {"a", "b", "size"}),
    ("a.contains(b)", {"a", "b"}),
    ("a ? b : c", {"a", "b", "c"}),
    ("{'a': b}.a == [c][0]", {"b", "c"}),
    ("a in [true, false, null]", {"a"}),
    ("x.exists(x, x > 1)", {"x"}),
    ("a.exists(x, x > y) && x > 1", {"a", "x", "y"}),
    ("a.exists(b, b == 1) && a.all(c, c == 1)", {"a"}),
    ("a.map(b, b.c).filter(d, d > e).exists(f, f == 1)", {"a", "e"}),
    ("a.exists(record, record == 1)", {"a"}),
    ("a . exists ( // every\n b , b > c )", {"a", "c"}),
    ("type == 'x'", {"type"}),
    ("type(a) == string", {"a", "string"}),
    ("a.type == 'x' && a.record == 1", {"a"}),
    ("timestamp(a).getFullYear() > 2020", {"a"}),
    ("_a1 > 0x1F && a > 1e5 && b > .5 && c > 1u", {"_a1", "a", "b", "c"}),
    ("a[b] == 1", {"a", "b"}),
    ("a[0][b.c]['d'].e == 1", {"a", "b"}),
]


@pytest.mark.parametrize(("text", "fields"), FIELDS)
def test_the_fields_that_a_condition_reads_are_found(text: str, fields: AbstractSet[str]) -> None:
    condition = Condition.compile(text)
    assert condition.reads == fields
    assert set(condition.fields) == fields


@pytest.mark.parametrize(
    ("text", "fields", "literals"),
    [
        ("record['US Gross'] > 5", set(), {"US Gross"}),
        ('record["a"]["b"] == record[\'c\'].d', set(), {"a", "c"}),
        (r'record[r"a\b"] == record["c\td"] + record["\u0065"]', set(), {r"a\b", "c\td", "e"}),
        ("record['a'] == a", {"a"}, {"a"}),
        ("record[ // the first\n 'a' ] == 1", set(), {"a"}),
        ("b[record['k']] == 1", {"b"}, {"k"}),
        ("record['l'].exists(x, x == record['m'])", set(), {"l", "m"}),
        ("record['record'] == 1", set(), {"record"}),
        ("record[''] == 1", set(), {""}),
    ],
)
def test_a_literal_of_record_is_read_as_that_field(
    text: str, fields: AbstractSet[str], literals: AbstractSet[str]
) -> None:
    condition = Condition.compile(text)
    assert (set(condition.fields), set(condition.literals)) == (fields, literals)
    assert condition.reads == fields | literals


@pytest.mark.parametrize(
    "text",
    [
        "has(record.a)",
        "size(record) > 1",
        "record.a == 1",
        "'a' in record",
        "record == {'a': 1}",
        "record[name] == 1",
        "record['a' + 'b'] == 1",
        "record['a'] == 1 && size(record) > 1",
        "[record][0].a == 1",
        "record[b'a'] == 1",
    ],
)
def test_record_used_otherwise_is_read_as_a_whole(text: str) -> None:
    assert Condition.compile(text).reads is None


@pytest.mark.parametrize(
    ("text", "paths"),
    [
        ("a.b.c == 1", {("a", "b", "c")}),
        ("a['b c'][0].d == 1", {("a", "b c", 0, "d")}),
        ("record['a'].b == 1", {("a", "b")}),
        ("record.a.b == 1", {("a", "b")}),
        ("a[b].c == 1", {("a", ANY), ("b",)}),
        ("a.startsWith('x')", {("a",)}),
        ("a.b.size() > 1", {("a", "b")}),
        ("a.l.exists(x, x.y > 1)", {("a", "l"), ("a", "l", ANY, "y")}),
        ("a.filter(x, x.y > 1).exists(z, z.q > 1)", {("a",), ("a", ANY, "y"), ("a", ANY, "q")}),
        ("has(a.b)", {("a", "b")}),
    ],
)
def test_the_places_that_a_condition_reads_are_found(text: str, paths: set[tuple[Any, ...]]) -> None:
    assert set(Condition.compile(text).paths) == paths


REFUSED = [
    ("a ==", "does not compile"),
    ("a == 1 b", "does not compile"),
    ("", "does not compile"),
    ("a == '", "does not compile"),
    ("a == 9223372036854775808", "does not compile"),
    ("a.b = 1", "does not compile"),
    ("if == 1", "reserved"),
    ("now() > a", "calls now, which CEL does not have"),
    ("_private(a)", "calls _private, which CEL does not have"),
    ("a.upper() == 'A' || a.lower() == 'a'", "calls lower, upper, which"),
    ("cel.bind(x, 1, x == a)", "calls bind"),
    ("a.exists(i, v, v > 1)", "calls exists"),
    ("a.exists(x, b.exists(y, x == y))", "comprehension inside a comprehension"),
    ("a.map(x, x.filter(y, y > 1))[0][0] > 1", "comprehension inside a comprehension"),
    ("a.all(x, [1, 2].all(y, x > y))", "comprehension inside a comprehension"),
    ("a.exists((x), x == 1)", "exists() needs a plain name"),
    ("record.exists(k, k == 'a')", "exists() can only iterate over"),
    ("{'a': 1}.exists(k, k == a)", "exists() can only iterate over"),
    ("[a, b][0].exists(k, k == 'a')", "exists() can only iterate over"),
    ("(a).all(k, k == 'a')", "all() can only iterate over"),
    ("a[b].map(k, k)[0] == 1", "map() can only iterate over"),
]


@pytest.mark.parametrize(("text", "problem"), REFUSED)
def test_a_condition_that_could_never_be_decided_is_refused(text: str, problem: str) -> None:
    with pytest.raises(ConditionError, match=re.escape(problem)) as caught:
        Condition.compile(text)
    assert "\n" not in str(caught.value)


def test_a_condition_may_be_a_thousand_characters_long_and_no_longer() -> None:
    text = "a == '" + "x" * (MAX_CONDITION_CHARACTERS - 7) + "'"
    assert len(text) == 1_000
    Condition.compile(text)
    with pytest.raises(ConditionError, match=r"1001 characters long; at most 1000 are allowed"):
        Condition.compile(text + " ")


def asked(text: str, record: dict[str, Any]) -> str:
    """Return the result of a condition, or the reason why it was refused or could not be evaluated."""
    try:
        return str(Condition.compile(text).holds(record))
    except ConditionError as error:
        return str(error)


@pytest.mark.parametrize(
    "text", ["(" * 499 + "a" + ")" * 499, "[" * 1_000, "!" * 999 + "a", "a" + ".b" * 499, "-" * 999 + "a"]
)
def test_a_condition_of_nothing_but_brackets_or_signs_does_no_harm(text: str) -> None:
    assert 0 < len(asked(text, {"a": 1})) < 400


PIECES = [
    *("a", "b", "record", "x", "int", "has(", "size(", "a.exists(x,", ".map(", "in", "true", "null"),
    *("1", "2.5", "'x'", '"y"', 'r"\\"', '"""', "'", "//", "\n", " ", "\\", "b'", "\U0001f600", "\0"),
    *("(", ")", "[", "]", "{", "}", ".", ",", ":", "?", "==", "&&", "||", "!", "-", "<", "record['x']"),
]


@given(st.one_of(st.text(), st.lists(st.sampled_from(PIECES), max_size=14).map("".join)))
@examples(600)
def test_any_text_is_a_condition_or_refused_as_one(text: str) -> None:
    assert asked(text, {"a": [1], "b": {"x": None}})
