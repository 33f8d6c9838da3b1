"""Fields that a condition reads, found in its syntax tree: names, fields of `record`, paths, the whole record."""

from __future__ import annotations

import re
from collections.abc import Set as AbstractSet
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from metroline.routing.errors import ConditionError
from metroline.routing.rules.cel.reading import ANY, IN_META
from metroline.routing.rules.condition import MAX_CONDITION_CHARACTERS, Condition
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
    (r'''a == r"\d" && b == "c"''', {"a", "b"}),
    (r'''a == R"""\d""" && b == "c"''', {"a", "b"}),
    (r"""bytes(a) == b"\"c" && bytes(b) == br"\d" """, {"a", "b"}),
    ("size(a) > 1 && b.size() > 1 && size > 1", {"a", "b", "size"}),
    ("a.contains(b)", {"a", "b"}),
    ("a ? b : c", {"a", "b", "c"}),
    ("{'a': b}.a == [c][0]", {"b", "c"}),
    ("l.all(x, m.exists(y, y > x && z > y))", {"l", "m", "z"}),
    ("l.map(x, x.k, [x, y])[0] == n", {"l", "y", "n"}),
    ("l.exists_one(x, x == l.filter(x, x > 1)[0])", {"l"}),
    ("a in [true, false, null]", {"a"}),
    ("x.exists(x, x > 1)", {"x"}),
    ("a.exists(x, x > y) && x > 1", {"a", "x", "y"}),
    ("a.exists(b, b == 1) && a.all(c, c == 1)", {"a"}),
    ("a.map(b, b.c).filter(d, d > e).exists(f, f == 1)", {"a", "e"}),
    ("a.exists(record, record == 1)", {"a"}),
    ("a . exists ( // every\n b , b > c )", {"a", "c"}),
    ("type == 'x'", {"type"}),
    ("type(a) == string && type(b) in [list, map] && null_type != type(c)", {"a", "b", "c"}),
    ("string == 'x' && int > 3 && map.key == 1 && type(string) == string", {"string", "int", "map"}),
    ("type(a) == b.c", {"a", "b"}),
    ("a.type == 'x' && a.record == 1", {"a"}),
    ("timestamp(a).getFullYear() > 2020", {"a"}),
    ("_a1 > 0x1F && a > 1e5 && b > .5 && c > 1u", {"_a1", "a", "b", "c"}),
    ("a[b] == 1", {"a", "b"}),
    ("a[0][b.c]['d'].e == 1", {"a", "b"}),
]


@pytest.mark.parametrize(("text", "fields"), FIELDS)
def test_the_fields_that_a_condition_reads_are_found(text: str, fields: AbstractSet[str]) -> None:
    assert Condition.compile(text).reads == fields


@pytest.mark.parametrize(
    ("text", "fields"),
    [
        ("record['US Gross'] > 5", {"US Gross"}),
        ('record["a"]["b"] == record[\'c\'].d', {"a", "c"}),
        (r'record[r"a\b"] == record["c\td"] + record["\u0065"]', {r"a\b", "c\td", "e"}),
        ("record['a'] == a", {"a"}),
        ("record[ // the first\n 'a' ] == 1", {"a"}),
        ("b[record['k']] == 1", {"b", "k"}),
        ("record['l'].exists(x, x == record['m'])", {"l", "m"}),
        ("record['record'] == 1", {"record"}),
        ("record[''] == 1", {""}),
        ("record.a == 1", {"a"}),
        ("record.a.b == record['c'].d", {"a", "c"}),
        ("has(record.a.b)", {"a"}),
    ],
)
def test_a_field_of_record_is_read_as_that_field(text: str, fields: AbstractSet[str]) -> None:
    assert Condition.compile(text).reads == fields


@pytest.mark.parametrize(
    "text",
    [
        "has(record.a)",
        "size(record) > 1",
        "'a' in record",
        "record == {'a': 1}",
        "record[name] == 1",
        "record['a' + 'b'] == 1",
        "record['a'] == 1 && size(record) > 1",
        "[record][0].a == 1",
        "record[0] == 1",
        "[1].exists(x, record == {'a': x})",
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
        ("a[b].c == 1", {("a", ANY, "c"), ("b",)}),
        ("a.startsWith('x')", {("a",)}),
        ("a.b.size() > 1", {("a", "b")}),
        ("a.l.exists(x, x.y > 1)", {("a", "l"), ("a", "l", ANY, "y")}),
        ("a.filter(x, x.y > 1).exists(z, z.q > 1)", {("a",), ("a", ANY, "y"), ("a", ANY, "q")}),
        ("has(a.b)", {("a", "b")}),
        ("a.all(x, x.l.exists(y, y.k > x.k))", {("a",), ("a", ANY, "l"), ("a", ANY, "l", ANY, "k"), ("a", ANY, "k")}),
        ("a.map(x, x.y).exists(z, z > 1)", {("a",), ("a", ANY, "y")}),
        ("a.all(a, a > b.c)", {("a",), ("a", ANY), ("b", "c")}),
        ("[a, b][0].c == 1", {("a",), ("b",)}),
        ("a[b.c].d == a[-1]", {("a", ANY, "d"), ("b", "c"), ("a", -1)}),
        ("record == a", {(ANY,), ("a",)}),
        ("meta.key == a", {(IN_META, "key"), ("a",)}),
    ],
)
def test_the_places_that_a_condition_reads_are_found(text: str, paths: set[tuple[Any, ...]]) -> None:
    assert set(Condition.compile(text).paths) == paths


def test_paths_are_in_the_order_of_the_text_and_each_is_there_once() -> None:
    assert Condition.compile("c > 1 && a.b > c && b > a.b").paths == (("c",), ("a", "b"), ("b",))


REFUSED = [
    ("a ==", "does not compile"),
    ("a == 1 b", "does not compile"),
    ("", "the condition is empty: leave out `when`, or write one"),
    (" \n", "the condition is empty: leave out `when`, or write one"),
    ("a == '", "does not compile"),
    ("a == 9223372036854775808", "does not compile"),
    ("a.b = 1", "does not compile"),
    ("a.exists(1, x)", "does not compile"),
    ("if == 1", "reserved"),
    ("a == '\ud800'", "the condition has a character that cannot be encoded as UTF-8"),
    ("1 == 1", "reads nothing of a record"),
    ("type(1) == int", "reads nothing of a record"),
    ("[1, 2].exists(a, a > 1)", "reads nothing of a record"),
    ("Money{units: 1} == a", "there is no type Money"),
    ("a == " + "+ ".join(["1"] * 400), "nested"),
]


@pytest.mark.parametrize(("text", "problem"), REFUSED)
def test_a_condition_that_could_never_be_decided_is_refused(text: str, problem: str) -> None:
    with pytest.raises(ConditionError, match=re.escape(problem)) as caught:
        Condition.compile(text)
    assert "\n" not in str(caught.value)


def test_a_condition_may_name_thousands_of_values_and_is_not_longer_than_the_limit() -> None:
    text = "a in [" + ", ".join(f"'value {number}'" for number in range(5_000)) + "]"
    assert Condition.compile(text).holds({"a": "value 4999"})
    assert not Condition.compile(text).holds({"a": "value 5000"})
    text = "a == '" + "x" * (MAX_CONDITION_CHARACTERS - 7) + "'"
    assert len(text) == 100_000
    Condition.compile(text)
    with pytest.raises(ConditionError, match=r"100001 characters long; at most 100000 are allowed"):
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
