"""Conditions are deterministic: the result depends only on the fields that a condition reads."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import assume, given
from hypothesis import strategies as st

from metroline.routing.errors import ConditionError
from metroline.routing.rules.condition import Condition
from tests.support.worlds import FIELDS, Record, examples, records, values

BASES = ["a", "b", "c", "l", "n", "int", "record", "record.a", "record['x y']", "record['a']", "record[b]", "record.n"]
PLACES = ["n.k", "n.l", "n['x y']", "l[0]", "l[a]", "e.k", "n.k.k", "int.k", "n.exists", "record['n'].k", "a.b"]
paths = st.sampled_from(BASES + PLACES + ["a", "b", "c", "l", "n", "e", "e"])
literals = st.sampled_from(
    ["1", "1.0", "2u", "true", "null", "'x'", '"k"', "r'\\'", "[]", "[1, a]", "{'k': a}", "{}", "int", "b'x'", "-1"]
)
ranges = st.sampled_from(
    ["l", "n", "l", "n", "n.l", "record['l']", "[a, b]", "[1, 2]", "l.filter(e, e.k > 0)", "l.map(e, e)"]
)


def larger(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    """Return a strategy for expressions that are composed of smaller ones."""
    signs = st.sampled_from(["==", "!=", "<", ">", "+", "-", "/", "in", "&&", "||"])
    macros = st.sampled_from(["exists", "all", "exists_one", "map", "filter"])
    methods = st.sampled_from(["startsWith", "contains", "matches", "size"])
    functions = st.sampled_from(["", "size", "type", "string", "int", "double", "dyn", "!", "-"])
    return st.one_of(
        st.builds("({}) {} ({})".format, inner, signs, inner),
        st.builds("({} ? {} : {})".format, inner, inner, inner),
        st.builds("{}({})".format, functions, inner),
        st.builds("has({}.k)".format, st.sampled_from(["a", "n", "n.k", "record", "l[0]"])),
        st.builds("{}.{}({})".format, paths, methods, st.one_of(st.just(""), inner)),
        st.builds("{}.{}({}, {})".format, ranges, macros, st.sampled_from(["e", "e", "a", "int"]), inner),
        st.builds("{}.{}(e, e {} {})".format, ranges, macros, signs, inner),
        st.builds("{0}.{1}(e, {0}[e] {2} {3})".format, st.sampled_from(["n", "record", "(n)"]), macros, signs, inner),
    )


atoms = st.one_of(paths, literals)
texts = larger(st.one_of(atoms, larger(atoms)))


def answer(condition: Condition, record: Record) -> bool | str:
    """Return the result of a condition for a record, or the reason why it cannot be evaluated."""
    try:
        return condition.holds(record)
    except ConditionError as error:
        return str(error)


def turned(value: Any) -> Any:
    """Return a value with the keys of its objects in reverse order."""
    if isinstance(value, dict):
        return {name: turned(value[name]) for name in reversed(value)}
    return [turned(element) for element in value] if isinstance(value, list) else value


def test_the_reason_of_a_failure_does_not_depend_on_the_order_of_fields() -> None:
    one, other = {"b": {"k": None, "l": None}}, {"b": {"l": None, "k": None}}
    condition = Condition.compile("record[b]")
    assert answer(condition, one) == answer(condition, other) == "an object has no element that an object could name"


@given(texts, records, st.dictionaries(st.sampled_from([*FIELDS, "other"]), values))
@examples(300)
def test_only_what_a_condition_reads_decides(text: str, record: Record, changes: Record) -> None:
    try:
        condition = Condition.compile(text)
    except ConditionError:
        assume(False)
    said = answer(condition, record)
    for _ in range(3):
        assert answer(condition, turned(json.loads(json.dumps(record)))) == said
    reads = condition.reads
    if reads is not None:
        others = {name: value for name, value in changes.items() if name not in reads}
        assert answer(condition, record | others) == said
        assert answer(condition, {name: record.get(name) for name in reads}) == said
