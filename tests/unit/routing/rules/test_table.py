"""The indexed, cached decision is equal to that of a plain loop over the rules."""

from __future__ import annotations

import math
import time
from typing import Any

import orjson
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from metroline.routing.messages.itinerary import Decision
from metroline.routing.records.field_sets import union
from metroline.routing.records.fingerprints import fingerprint
from metroline.routing.rules.table import RulesTable
from tests.support.worlds import (
    CLAUSES,
    ENDS,
    FIELDS,
    STOPS,
    Clause,
    Record,
    Sketch,
    Verdict,
    clause,
    examples,
    judge,
    records,
    same,
    table,
    tables,
    values,
)

stops = st.sampled_from(["source", *STOPS])


def told(decision: Decision) -> tuple[Any, ...]:
    """Return a decision in the form of the judge's verdict.

    Only the kind of a rule's error is compared: the judge has no words.
    """
    outcome = decision.outcome
    if outcome is None:
        return (decision.stop, None, None, decision.rule)
    reason = outcome.reason.partition(":")[0] if outcome.ending == "dead" and outcome.reason else outcome.reason
    return (None, outcome.ending.value, reason, decision.rule)


def said(verdict: Verdict) -> tuple[Any, ...]:
    return (verdict.stop, verdict.ending, verdict.reason, verdict.rule)


@given(tables(), stops, records)
@examples(250)
def test_the_first_rule_that_holds_decides(rules: tuple[Sketch, ...], after: str, record: Record) -> None:
    if not rules:
        return
    decision = RulesTable.parse(table(rules), ends=ENDS).decide(after, record)
    verdict = judge(rules, after, record)
    assert told(decision) == said(verdict)
    assert decision.reads == verdict.reads


@given(tables().filter(bool), st.lists(st.tuples(stops, records), max_size=6), st.randoms())
@examples(100)
def test_what_was_decided_before_changes_nothing(
    rules: tuple[Sketch, ...], questions: list[tuple[str, Record]], random: Any
) -> None:
    fresh = [RulesTable.parse(table(rules), ends=ENDS).decide(after, record) for after, record in questions]
    rules_table = RulesTable.parse(table(rules), ends=ENDS)
    order = list(range(len(questions))) * 2
    random.shuffle(order)
    for number in order:
        after, record = questions[number]
        assert rules_table.decide(after, record) == fresh[number]


@given(tables().filter(bool), stops, records, st.dictionaries(st.sampled_from([*FIELDS, "other"]), values, min_size=1))
@examples(200)
def test_a_field_that_was_not_looked_at_never_matters(
    rules: tuple[Sketch, ...], after: str, record: Record, changes: Record
) -> None:
    rules_table = RulesTable.parse(table(rules), ends=ENDS)
    decision = rules_table.decide(after, record)
    if decision.reads is None:
        return
    changed = record | {name: value for name, value in changes.items() if name not in decision.reads}
    assert rules_table.decide(after, changed) == decision
    assert RulesTable.parse(table(rules), ends=ENDS).decide(after, changed) == decision
    fewer = {name: value for name, value in record.items() if name in decision.reads}
    assert RulesTable.parse(table(rules), ends=ENDS).decide(after, fewer) == decision


NEAR = [2**53, 2**63, 2**64 - 3, -(2**53), -(2**63) + 3, 0]
large = st.one_of(
    st.builds(lambda base, distance: base + distance, st.sampled_from(NEAR), st.integers(-3, 2)),
    st.builds(lambda base, distance: float(base) + distance, st.sampled_from(NEAR), st.integers(-3, 3)),
    st.booleans(),
    st.sampled_from(["0", "9007199254740992", "true"]),
)


@given(
    st.lists(st.tuples(large, large | st.none()), min_size=1, max_size=8),
    st.lists(large | st.none(), min_size=2, max_size=6),
)
@example([(2**53, None), (2**53 + 1, None)], [2.0**53, 2**53 + 1])
@example([(2**63 - 1, None)], [2**63 - 1, 2**63])
@examples(250)
def test_large_numbers_are_found_in_the_index_as_cel_compares_them(
    wanted: list[tuple[Any, Any]], given: list[Any]
) -> None:
    rules = [
        Sketch(f"r{number}", "source", (("a", one),) if other is None else (("a", one), ("b", other)), to=f"s{number}")
        for number, (one, other) in enumerate(wanted)
    ]
    rules_table = RulesTable.parse(table(rules), ends=ENDS)
    for one in given:
        for other in given:
            record = {"a": one, "b": other}
            assert told(rules_table.decide("source", record)) == said(judge(rules, "source", record))


def are_equal(record: Record) -> bool:
    return same(record["a"], record["b"])


@given(st.lists(large, min_size=1, max_size=4), st.lists(large, min_size=1, max_size=6))
@examples(200)
def test_what_is_remembered_tells_numbers_apart_that_python_calls_equal(wanted: list[Any], given: list[Any]) -> None:
    rules = [
        Sketch("same", "source", (), clause("type(a) == type(b) && a == b", "a,b", are_equal), "s0"),
        Sketch("equal", "source", (), clause("a == b", "a,b", are_equal), "s1"),
    ]
    rules_table = RulesTable.parse(table(rules), ends=ENDS)
    for one in given:
        for other in wanted:
            record = {"a": one, "b": other}
            assert told(rules_table.decide("source", record)) == said(judge(rules, "source", record))


floats = st.floats() | st.sampled_from([0.0, -0.0, 1.0, 5e-324, -5e-324, 0.1 + 0.2, 0.3, math.inf, -math.inf])


@given(floats, floats)
@examples(400)
def test_floats_are_told_apart_as_their_json_is(one: float, other: float) -> None:
    for value in (one, other):
        assert fingerprint(value) != fingerprint(1)
        assert fingerprint(value) == fingerprint(orjson.loads(orjson.dumps(value)))
    assert (fingerprint(one) == fingerprint(other)) == (orjson.dumps(one) == orjson.dumps(other))


LOOK_ALIKE: list[Any] = [
    *(1, 1.0, True, "1", "1.0", "True", "true", [1], [1.0], [True], "[1]", [[1]], {"k": 1}, {"k": 1.0}, {"k": True}),
    *(0, 0.0, -0.0, False, "", "0", None, "None", "null", [], {}, [None], {"k": None}, '{"k":1}', ["k", 1]),
]


@pytest.mark.parametrize("condition", CLAUSES, ids=lambda clause: clause.text)
def test_values_that_look_alike_are_remembered_apart(condition: Clause) -> None:
    rules = [Sketch("holds", "source", (), condition, to="s0"), Sketch("else", "source", (("a", 1),), to="s1")]
    rules_table = RulesTable.parse(table(rules), ends=ENDS)
    asked = [{name: value} for name in FIELDS for value in LOOK_ALIKE]
    asked += [{"a": 1, "b": "x", "l": [1, 2], "n": {"k": 1}} | record for record in asked]
    for record in [*asked, *reversed(asked)]:
        assert told(rules_table.decide("source", record)) == said(judge(rules, "source", record))


def test_ten_thousand_matches_at_one_stop_are_looked_up_not_tried() -> None:
    rules = [Sketch(f"r{number}", "source", (("code", f"C{number}"),), to="s0") for number in range(10_000)]
    rules_table = RulesTable.parse(table(rules), ends=ENDS)
    tried: list[str] = []

    class Counted(dict[str, Any]):
        def get(self, name: str, default: Any = None) -> Any:
            tried.append(name)
            return super().get(name, default)

    assert rules_table.decide("source", Counted(code="C9999")).rule == "r9999"
    assert len(tried) < 10


def test_a_long_text_is_decided_on_but_not_remembered() -> None:
    rules_table = RulesTable.parse('[[rules]]\nafter = "source"\nwhen = "text.contains(\'needle\')"\nto = "found"\n')
    hay = "hay" * 10_000
    assert rules_table.decide("source", {"text": hay}).stop is None
    assert rules_table.decide("source", {"text": hay + "needle"}).stop == "found"
    assert not rules_table.stop_rules("source")._cache


def test_a_number_that_is_nan_is_decided_on_as_the_null_that_it_becomes() -> None:
    rules_table = RulesTable.parse('[[rules]]\nafter = "s0"\nwhen = "a == null"\nto = "s1"\n')
    assert rules_table.decide("s0", {"a": math.nan}).stop == "s1"


def test_a_tuple_is_decided_on_as_the_list_that_it_becomes() -> None:
    rules_table = RulesTable.parse('[[rules]]\nafter = "s0"\nwhen = "a == [1, 2]"\nto = "s1"\n')
    assert rules_table.decide("s0", {"a": (1, 2), "b": object()}).stop == "s1"


def test_the_conditions_after_a_stop_share_one_budget_in_a_decision() -> None:
    rule = '[[rules]]\nafter = "source"\nwhen = "items.exists(i, i > {})"\nto = "end"\n'
    record = {"items": list(range(50_000))}
    assert RulesTable.parse(rule.format(60_000)).decide("source", record).rule is None
    outcome = RulesTable.parse("".join(map(rule.format, range(60_000, 60_010)))).decide("source", record).outcome
    assert outcome is not None
    assert str(outcome.detail).startswith("rule 3: over budget")


def test_the_union_of_thousands_of_field_sets_takes_a_moment() -> None:
    began = time.process_time()  # of this process: other programs do not count
    assert len(union([frozenset({f"f{number}"}) for number in range(10_000)]) or ()) == 10_000
    assert time.process_time() - began < 0.5
