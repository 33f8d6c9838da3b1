"""Null and absent are one: a value that can be compared, and what makes a condition that needs another not hold."""

from __future__ import annotations

from typing import Any

import pytest

from metroline.routing.errors import ConditionError
from metroline.routing.rules.condition import Condition

HOLDS = [
    ("a == null", {}),
    ("a == null", {"a": None}),
    ("a != 1", {}),
    ("record['x y'] == null", {}),
    ("b == null || a > 1", {"a": "text"}),
    ("a > 1 || b == 1", {"b": 1}),
    ("has(record.a)", {"a": None}),
    ("!has(record.a)", {}),
    ("has(n.a)", {"n": {"a": None}}),
    ("n.a == null", {"n": {"a": None}}),
    ("l[0] == null", {"l": [None]}),
    ("l.exists(x, x == null)", {"l": [1, None]}),
    ("l.exists(x, x > 1)", {"l": [2, None]}),
    ("l.all(x, x == 1)", {"l": []}),
    ("type(a) == int", {"a": 1, "int": None}),
    ("type == 'x'", {"type": "x"}),
    ("int == 3", {"int": 3}),
    ("a == 1.0", {"a": 1}),
    ("a == 18446744073709551615u", {"a": 2**64 - 1}),
    ("record['a b'] == 1 && c == 2", {"a b": 1, "c": 2}),
    ("size(record) == 1", {"a": 1}),
    ("[1, 2].map(x, x * a) == [2, 4]", {"a": 2}),
    ("a", {"a": True}),
    ("record.a == null", {}),
    ("!has(n.a)", {"n": {}}),
    ("!has(n.a)", {}),
    ("!has(n.a.b)", {"n": {"a": None}}),
    ("n.a.b == null", {}),
    ("n.a.b == null && n['a']['b'] == null && n[a].b == null", {"n": None}),
    ("l[3] == null", {"l": [1]}),
    ("l[0].k == null", {"l": []}),
    ("l.all(x, x.y == null)", {"l": [{}, None, {"y": None}]}),
    ("l.exists(x, x.m.exists(y, y.k == null))", {"l": [{"m": [{}]}]}),
    ("l.exists(x, x.y > 1)", {"l": [{}, {"y": "text"}, {"y": 2}]}),
    ("l.exists(x, x > 1) || b == null", {"l": ["text"]}),
    ("a.startsWith('x') || true", {"a": 5}),
    ("!(l.all(x, x > 1))", {"l": [None, "text", 0]}),
    ("bytes == null && string == null && map.k == null", {}),
    ("a in [null, 1]", {}),
    ("null in l", {"l": [1, None]}),
    ("(a == null ? 5 : a) == 5", {}),
    ("[a] == [null] && {'k': a} == {'k': null}", {}),
    ("type(a) == null_type", {}),
    ("meta.key == null && meta.headers.type == null && meta.timestamp == null", {}),
]

DOES_NOT_HOLD = [
    ("a == 1", {}),
    ("a > 1", {}),
    ("a > 1", {"a": None}),
    ("!a", {}),
    ("a.startsWith('x')", {}),
    ("size(a) > 1", {"a": None}),
    ("a + 1 > b", {"a": 1}),
    ("n.a > 1", {"n": {}}),
    ("n.a > 1", {"n": {"a": None}}),
    ("n.a > 1", {"n": None}),
    ("n.a.b.c > 1", {"n": {"a": {}}}),
    ("n['x y'] > 1", {"n": {}}),
    ("record['x y'] > 1", {}),
    ("record['x y'].z > 1", {"x y": {}}),
    ("record.a > 1", {}),
    ("a", {}),
    ("a", {"a": None}),
    ("!(a > 1)", {}),
    ("!l.exists(x, x.y > 1)", {"l": [{"y": 1}, {}]}),
    ("(a ? b : c) == 1", {}),
    ("a && b", {"b": True}),
    ("a || b", {"b": False}),
    ("int > 1", {}),
    ("a in b", {"a": 1}),
    ("l.filter(x, x.y > 1) == []", {"l": [{}]}),
    ("l.exists_one(x, x > 1)", {"l": [2, None]}),
    ("l.all(x, x > 1)", {}),
    ("timestamp(a) > timestamp('2020-01-01')", {}),
    ("l[3] == 1", {"l": [1]}),
    ("l[0] > 1", {"l": [None]}),
    ("l[a] == 1", {"l": [1], "a": 9}),
    ("n[a] == 1", {"n": {}, "a": "k"}),
    ("l.exists(x, x > 2)", {"l": [1, None]}),
    ("l.exists(x, x.y > 1)", {"l": [{"y": 1}, {}]}),
    ("l.exists(x, x.y > 1)", {"l": [{"y": None}]}),
    ("l.map(x, x.y)[0] > 1", {"l": [{}]}),
    ("l.filter(x, x.y > 0).exists(z, z.q > 1)", {"l": [{"y": 1}]}),
    ("[a, b].exists(x, x.y > 1)", {"a": {"y": 1}, "b": {}}),
    ("type(a) == int", {"a": "1"}),
    ("int.k > 1", {"int": {}}),
    ("int.k > 1", {}),
    ("l.exists(int, int.k > 1)", {"l": [{}]}),
    ("l.exists(int, int > 1)", {"l": [None]}),
    ("a == true", {"a": 1}),
    ("a == 1", {"a": True}),
    ("a == '1'", {"a": 1}),
]

UNDECIDED = [
    ("a > 1", {"a": "text"}),
    ("a > 1", {"a": True}),
    ("a > 1", {"a": "text", "b": None}),
    ("n.a > 1", {"n": {"a": "text"}}),
    ("n.a > 1", {"n": "text"}),
    ("n.a > 1", {"n": [1]}),
    ("l[0] > 1", {"l": "text"}),
    ("l['k'] > 1", {"l": [1]}),
    ("l.exists(x, x > 1)", {"l": ["text"]}),
    ("l.exists(x, x > 1)", {"l": 5}),
    ("[1, 2].exists(x, x > a)", {"a": "text", "b": None}),
    ("[1, 2].exists(x, x > a)", {"a": [None]}),
    ("record['x y'] > 1", {"x y": "text", "z": None}),
    ("1 / a > 0", {"a": 0}),
    ("a + 1 > 0", {"a": 2**64 - 1}),
    ("a && b", {"a": None, "b": 5}),
    ("a || b", {"a": 5, "b": None}),
    ("l.exists(x, x > 1)", {"l": [None, "text"]}),
    ("l.all(x, x > 1)", {"l": ["text", None]}),
    ("l[-1] == 1", {"l": [1]}),
    ("l[0.5] == 1", {"l": [1]}),
    ("a.b == null", {"a": 5}),
    ("has(a.b)", {"a": "text"}),
    ("l.exists(x, x.y > 1)", {"l": {"k": {"y": 2}}}),
    ("a.matches('[')", {"a": "x"}),
    ("int(a) > 1", {"a": "x"}),
    ("timestamp(a) > timestamp('2020-01-01T00:00:00Z')", {"a": "yesterday"}),
]


@pytest.mark.parametrize(("text", "record"), HOLDS)
def test_null_is_a_value_and_what_decides_needs_no_other(text: str, record: dict[str, Any]) -> None:
    assert Condition.compile(text).holds(record) is True


@pytest.mark.parametrize(("text", "record"), DOES_NOT_HOLD)
def test_what_is_null_or_absent_makes_a_condition_not_hold(text: str, record: dict[str, Any]) -> None:
    assert Condition.compile(text).holds(record) is False


@pytest.mark.parametrize(("text", "record"), UNDECIDED)
def test_what_is_of_the_wrong_type_cannot_be_decided(text: str, record: dict[str, Any]) -> None:
    with pytest.raises(ConditionError, match=r"\w"):
        Condition.compile(text).holds(record)


@pytest.mark.parametrize(
    ("value", "kind"), [(1, "a number"), ("x", "text"), ([True], "a list"), ({"k": True}, "an object")]
)
def test_an_answer_that_is_neither_true_nor_false_is_an_error(value: Any, kind: str) -> None:
    with pytest.raises(ConditionError, match=f"^the condition is {kind}, not true or false$"):
        Condition.compile("a").holds({"a": value})


def test_a_comprehension_over_an_object_is_refused_since_its_fields_have_no_order() -> None:
    condition = Condition.compile("fees.exists(k, fees[k] > 100)")
    with pytest.raises(
        ConditionError, match=r"^exists\(\) goes over a list, not over an object, whose fields have no order$"
    ):
        condition.holds({"fees": {"a": "waived", "b": 200}})


def test_the_record_is_not_changed_by_asking() -> None:
    record: dict[str, Any] = {"a": [1], "n": {"k": None}}
    Condition.compile("a[0] == 1 && missing == null && record['other'] == null && n.k == null").holds(record)
    assert record == {"a": [1], "n": {"k": None}}
