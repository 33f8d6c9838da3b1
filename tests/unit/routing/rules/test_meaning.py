"""Two tables are compared by what they decide: each difference is shown by a record, and what is proven holds."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import assume, given

from metroline.routing.errors import InvalidRules
from metroline.routing.rules.meaning.difference import Difference, Meaning, difference
from metroline.routing.rules.table import RulesTable
from tests.support.worlds import CLAUSES, ENDS, Clause, Record, Sketch, Verdict, examples, judge, records, table, tables


def of(text: str) -> RulesTable:
    return RulesTable.parse(text, ends=ENDS)


def rule(when: str | None = None, to: str = "a", after: str = "source", **match: Any) -> str:
    lines = ["[[rules]]", f"after = {json.dumps(after)}"]
    if match:
        lines.append(f"match = {{ {', '.join(f'{name} = {json.dumps(value)}' for name, value in match.items())} }}")
    if when is not None:
        lines.append(f"when = {json.dumps(when)}")
    return "\n".join([*lines, f"to = {json.dumps(to)}" if to else 'drop = "no"']) + "\n"


REST = rule(to="b")


def compared(before: str, after: str) -> Meaning:
    return difference(of(before), of(after))


def only(before: str, after: str) -> Difference:
    [found] = compared(before, after).differences
    return found


@pytest.mark.parametrize(
    ("before", "after", "record"),
    [
        ("total >= 50", "total > 50", {"total": 50}),
        ("total >= 50", "total >= 80", {"total": 50}),
        ("name in ['x', 'y']", "name in ['x', 'y', 'z']", {"name": "z"}),
        ("a > 1 && b > 1", "a > 1 && b > 1 && c > 1", {"a": 2, "b": 2}),
        ("has(order.paid)", "order.paid == true", {"order": {"paid": None}}),
        ("size(name) > 3", "size(name) > 4", {"name": "aaaa"}),
        ("items.exists(i, i.price > 10)", "items.exists(i, i.price > 11)", {"items": [{"price": 11}]}),
        ("name.startsWith('GOOSE')", "name.startsWith('GOOSE-')", {"name": "GOOSE"}),
        ("name.matches('GOOSE|DUCK')", "name.matches('GOOSE|DUCK|SWAN')", {"name": "SWAN"}),
        ("total > 10 * 5", "total > 10 * 6", {"total": 51}),
    ],
)
def test_the_smallest_record_shows_the_difference(before: str, after: str, record: Record) -> None:
    found = only(rule(before) + REST, rule(after) + REST)
    assert found.record == record
    assert {found.before, found.to} == {"a", "b"}


def test_the_metadata_that_makes_a_difference_is_shown() -> None:
    found = only(rule("meta.headers['type'] == 'order'") + REST, rule("meta.headers['type'] == 'offer'", to="b") + REST)
    assert (found.record, found.meta, found.before, found.to) == ({}, {"headers": {"type": "order"}}, "a", "b")


def test_a_rule_that_others_hide_is_found_behind_them() -> None:
    hidden = rule("a > 1") + rule("b > 1") + rule(c=1)
    found = only(f"{hidden}{rule('d == 3')}{REST}", f"{hidden}{REST}")
    assert found.record == {"d": 3}


def test_a_difference_at_a_later_stop_names_the_stop() -> None:
    first = rule(to="a")
    found = only(first + rule(after="a", to="end"), first + rule("x > 0", after="a", to="end"))
    assert (found.after, found.record, found.before, found.to) == ("a", {}, "delivered", "dead: unroutable")


def test_a_record_about_which_a_rule_fails_is_shown_only_if_nothing_else_is_there() -> None:
    found = compared(rule("a > 1") + REST, rule("a > 2") + REST).differences
    assert [one.record for one in found] == [{"a": 2}]


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (rule("a > 1") + REST, rule("a > 1") + REST.replace("[[rules]]", '[[rules]]\nname = "the rest"')),
        (rule(x=1) + rule(x=2, to="b"), rule(x=2, to="b") + rule(x=1)),
        (rule(x=[1, 2]) + REST, rule(x=1) + rule(x=2) + REST),
        (rule("a > 1") + rule("a > 1 ") + REST, rule("a > 1") + rule("a > 1 ") + REST),
        (rule(to="a"), rule(to="a") + rule(after="a", to="end")),
    ],
)
def test_tables_that_decide_alike_are_proven_to(before: str, after: str) -> None:
    assert compared(before, after).is_none


def test_a_rule_without_effect_still_fails_for_a_value_of_another_kind() -> None:
    found = only(rule("a > 1", to="b") + REST, REST)
    assert (found.record, found.before, found.to) == ({"a": "a"}, "dead: rule_error", "b")


def test_what_is_not_proven_is_said() -> None:
    found = compared(rule("50 <= total") + REST, rule("total >= 50") + REST)
    assert (found.differences, found.not_proven, found.is_none) == ([], ["source"], False)


def test_stops_that_one_table_alone_reaches_are_named() -> None:
    found = compared(rule(to="a"), rule(to="b"))
    assert (found.only_before, found.only_after) == (["a"], ["b"])


def test_long_lists_differ_by_a_member_at_their_end() -> None:
    names = [f"n{number}" for number in range(2_000)]
    found = only(rule(f"name in {names}") + REST, rule(f"name in {[*names, 'new']}") + REST)
    assert found.record == {"name": "new"}


BEYOND = {"n.exists(k, n[k] == 1)", "size(record) > 3", "record == {'a': 1}"}
"""Conditions for which no record is looked for: they are about names of fields that nothing names."""


@pytest.mark.parametrize("clause", CLAUSES, ids=lambda clause: clause.text)
def test_a_record_is_found_for_every_kind_of_condition(clause: Clause) -> None:
    found = compared(rule(clause.text) + REST, REST)
    if clause.text in BEYOND:
        assert found.not_proven or found.differences
    else:
        assert ("a", "b") in {(one.before, one.to) for one in found.differences}


def told(verdict: Verdict) -> tuple[str | None, str | None, str | None]:
    return verdict.stop, verdict.ending, verdict.reason


def parsed(rules: tuple[Sketch, ...]) -> RulesTable:
    try:
        return of(table(rules))
    except InvalidRules:
        assume(False)
        raise


@given(tables(), tables(), records)
@examples(60)
def test_every_difference_is_one_and_what_is_proven_alike_is(
    before: tuple[Sketch, ...], after: tuple[Sketch, ...], record: Record
) -> None:
    found = difference(parsed(before), parsed(after))
    for one in found.differences:
        assert told(judge(before, one.after, one.record)) != told(judge(after, one.after, one.record))
    open_stops = {*found.not_proven, *(one.after for one in found.differences)}
    for stop in {rule.after for rule in (*before, *after)} - {*open_stops, *found.only_before, *found.only_after}:
        if _is_reached(before, stop) and _is_reached(after, stop):
            assert told(judge(before, stop, record)) == told(judge(after, stop, record))


def _is_reached(rules: tuple[Sketch, ...], stop: str) -> bool:
    seen, waiting = {"source"}, ["source"]
    while waiting:
        here = waiting.pop()
        following = {rule.to for rule in rules if rule.after == here and rule.to not in ENDS} - {None} - seen
        seen |= {to for to in following if to is not None}
        waiting += [to for to in following if to is not None]
    return stop in seen


def test_a_change_is_found_among_many_rules() -> None:
    def many(limit: int) -> str:
        limits = [limit if number == 150 else number for number in range(300)]
        return "".join(rule(f"a == {number} && b > {least}") for number, least in enumerate(limits)) + REST

    assert only(many(150), many(151)).record == {"a": 150, "b": 151}
