"""The budget: work is linear in what a condition looks at, and nothing absorbs that there is too much of it."""

from __future__ import annotations

from typing import Any

import pytest

from metroline.routing.errors import ConditionError
from metroline.routing.rules.cel.evaluation import Program
from metroline.routing.rules.cel.syntax_tree import parse
from metroline.routing.rules.cel.values import Budget, OverBudget
from metroline.routing.rules.condition import MAX_OPERATIONS, Condition

MANY = 1_000_000_000

FIELDS = dict.fromkeys(map(str, range(10_000)))


def spent(text: str, record: dict[str, Any]) -> int:
    """Return the number of operations that a condition takes for a record."""
    budget = Budget(MANY)
    Program.of(parse(text)).evaluate(record, {}, budget)
    return MANY - budget.left


def items(count: int) -> dict[str, Any]:
    return {"items": [{"price": number % 50, "tags": ["a", "b"]} for number in range(count)]}


@pytest.mark.parametrize(
    "text",
    [
        "items.filter(i, i.price > 10).size() > 3",
        "items.map(i, i.price).size() > 3",
        "items.map(i, i.price > 10, [i.price]).size() > 3",
        "items.exists(i, i.price > 100)",
        "items.all(i, i.price < 100)",
        "items.exists_one(i, i.price == 100)",
        "items.filter(i, i.price > 10).map(i, i.price).filter(p, p > 20).exists(p, p == 100)",
        "items.all(i, i.tags.exists(t, t == 'b'))",
        "items == items && items + items != items",
        "[1] in items",
        "5 in items.map(i, i.price)",
    ],
)
def test_ten_thousand_items_take_ten_times_the_work_of_a_thousand_and_fit_into_the_budget(text: str) -> None:
    one, ten = spent(text, items(1_000)), spent(text, items(10_000))
    assert one >= 1_000
    assert ten == pytest.approx(10 * one, rel=0.01)
    assert ten <= MAX_OPERATIONS


def test_a_comprehension_within_another_over_the_same_list_is_paid_for_and_over_budget() -> None:
    text = "items.exists(i, items.all(j, i.price > j.price))"
    assert spent(text, items(200)) > 200 * 200
    with pytest.raises(ConditionError, match=r"^over budget: .* more than 500,000 operations$"):
        Condition.compile(text).holds(items(10_000))


@pytest.mark.parametrize(
    "text",
    [
        "items.all(i, items.all(j, i.k == j.k)) || true",
        "true || items.all(i, items.all(j, i.k == j.k))",
        "!(false && items.all(i, items.all(j, i.k == j.k)))",
        "items.exists(i, items.exists(j, j.k == 5) || i.k == 5) || true",
        "[1, 2].exists(x, items.all(i, items.all(j, i.k == j.k)) || x == 2)",
        "[1, 2].all(x, items.all(i, items.all(j, i.k == j.k)) && x == 5)",
        "(items.all(i, items.all(j, i.k == j.k)) ? 1 : 2) == 3 || items.size() > 1",
        "has(record.x) || items.filter(i, items.all(j, i.k == j.k)).size() > 1 || true",
    ],
)
def test_nothing_absorbs_that_the_budget_is_used_up(text: str) -> None:
    record: dict[str, Any] = {"items": [{}] * 2_000}
    if text.startswith("true") or "false &&" in text:
        assert Condition.compile(text).holds(record)  # the left side decides, and the right one is not looked at
        return
    with pytest.raises(OverBudget):
        Program.of(parse(text)).evaluate(record, {}, Budget(MAX_OPERATIONS))
    with pytest.raises(ConditionError, match=r"^over budget"):
        Condition.compile(text).holds(record)


@pytest.mark.parametrize(
    ("text", "record"),
    [
        ("text.contains('needle')", {"text": "hay" * 100_000}),
        ("text.matches('needle')", {"text": "hay" * 100_000}),
        ("text + text == text", {"text": "hay" * 100_000}),
        ("bytes(text) < b'a'", {"text": "hay" * 100_000}),
        ("other == one", {"one": [[1] * 10_000], "other": [[1] * 10_000]}),
        (
            "other == one",
            {"one": FIELDS, "other": dict(FIELDS)},
        ),
        ("other in one", {"one": list(range(10_000)), "other": -1}),
        ("one + one == []", {"one": list(range(10_000))}),
    ],
)
def test_long_values_are_paid_for(text: str, record: dict[str, Any]) -> None:
    assert 9_000 <= spent(text, record) <= 100_000


@pytest.mark.parametrize(
    ("text", "record"),
    [
        ("size(items) > 3 && items[5].price == 5", items(10_000)),
        ("code in [" + ", ".join(f"'C{number}'" for number in range(1_000)) + "]", {"code": "C999"}),
        ("a == 1 && b.startsWith('x') && c.d.e != 5", {"a": 1, "b": "xy", "c": {"d": {"e": 6}}}),
    ],
)
def test_what_looks_at_one_value_costs_nearly_nothing(text: str, record: dict[str, Any]) -> None:
    assert Condition.compile(text).holds(record)
    assert spent(text, record) < 10


def test_a_search_is_paid_for_by_text_and_regular_expression_so_that_neither_holds_up_the_line() -> None:
    with pytest.raises(ConditionError, match=r"^over budget"):
        Condition.compile("text.matches(pattern)").holds({"text": "a" * 300_000, "pattern": "a" * 1_000})
    with pytest.raises(ConditionError, match=r"at most 1,000 characters, not 2,000$"):
        Condition.compile("text.matches(text)").holds({"text": "a" * 2_000})
    assert not Condition.compile("text.matches('^[A-Z]{2}-[0-9]+$')").holds({"text": "a" * 1_000_000})


def test_one_budget_serves_several_conditions() -> None:
    condition = Condition.compile("items.all(i, i.price < 100)")
    budget = Budget(spent(condition.text, items(100)) * 3)
    for _ in range(3):
        assert condition.holds(items(100), budget=budget)
    with pytest.raises(ConditionError, match=r"^over budget"):
        condition.holds(items(100), budget=budget)


@pytest.mark.parametrize(
    ("text", "item"),
    [
        ("items.all(i, i.matches('^[a-z]+$'))", "abc"),
        ("items.all(i, timestamp(i) > timestamp(1))", "2025-01-17T10:00:00Z"),
        ("items.all(i, duration(i) > duration('1s'))", "1h30m"),
        ("items.all(i, timestamp(i).getHours('Europe/Berlin') >= 0)", 1_737_106_200),
        ("items.all(i, string(timestamp(1)) > '1')", 1),
    ],
)
def test_what_the_runtime_does_for_each_element_is_paid_for(text: str, item: Any) -> None:
    assert spent(text, {"items": [item]}) >= 100
    assert Condition.compile(text + " && a == null").holds({"items": [item] * 500})
    with pytest.raises(ConditionError, match=r"^over budget"):
        Condition.compile(text + " && a == null").holds({"items": [item] * 50_000})


def test_comparing_long_texts_again_and_again_is_paid_for() -> None:
    record = {"a": "x" * 300_000, "b": "".join(["x"] * 300_000), "items": [1] * 100_000}
    with pytest.raises(ConditionError, match=r"^over budget"):
        Condition.compile("items.all(i, a == b)").holds(record)


@pytest.mark.parametrize(
    ("named", "told"),
    [
        ({"a": True, "b": None}, "a list has no element that an object could name"),
        ([None] * 1_000, "a list has no element that a list could name"),
        (True, "a list has no element that true or false could name"),
        ("x" * 1_000, f"a list has no element '{'x' * 40}'"),
    ],
)
def test_an_index_of_the_wrong_kind_is_told_shortly_and_not_as_python_writes_it(named: Any, told: str) -> None:
    with pytest.raises(ConditionError) as error:
        Condition.compile("items[named] == 1").holds({"items": [1], "named": named})
    assert str(error.value) == told
