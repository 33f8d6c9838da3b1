"""Worlds drawn by Hypothesis: rules tables, records and services; and a judge that decides them naively.

The judge shares no code with routing/. It tries rule after rule; each condition stands beside a function of Python that
says the same, written by hand. The judge is slow and simple, so that its verdicts are easy to trust.
"""

from __future__ import annotations

import copy
import json
import operator
import os
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date
from enum import IntEnum
from fractions import Fraction
from functools import partial
from typing import Any
from uuid import UUID

import orjson
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

from metroline.routing.outcome import Drop

Record = dict[str, Any]
Handler = Callable[[Record], Any]
TIMES = float(os.environ.get("EXAMPLES") or 0.4)
"""Factor for the number of examples; `make test-long` and `make test-properties` set it."""
LEAST = 25
"""Number of examples that the factor does not go below."""


def examples(number: int) -> settings:
    """Return settings for this many examples, without a deadline for a busy machine to miss."""
    tried = max(min(number, LEAST), round(number * TIMES))
    return settings(max_examples=tried, deadline=None, suppress_health_check=[HealthCheck.too_slow])


@dataclass(frozen=True)
class Clause:
    """A condition, the fields that it reads (None stands for the whole record), and the judge's word for it."""

    text: str
    fields: frozenset[str] | None
    answer: Callable[[Record], Any]
    """Returns the value of the condition for a record, or raises `NullMet` or `Wrong`."""


@dataclass(frozen=True)
class Sketch:
    """A rule as Hypothesis draws it."""

    name: str
    after: str
    match: tuple[tuple[str, Any], ...] = ()
    clause: Clause | None = None
    to: str | None = None
    drop: str | None = None

    @property
    def takes_all(self) -> bool:
        return not self.match and self.clause is None

    def toml(self) -> str:
        lines = ["[[rules]]", f"name = {quoted(self.name)}", f"after = {quoted(self.after)}"]
        if self.match:
            pairs = ", ".join(f"{quoted(name)} = {quoted(value)}" for name, value in self.match)
            lines.append(f"match = {{ {pairs} }}")
        if self.clause is not None:
            lines.append(f"when = {quoted(self.clause.text)}")
        lines.append(f"to = {quoted(self.to)}" if self.to is not None else f"drop = {quoted(self.drop)}")
        return "\n".join(lines)


def quoted(value: Any) -> str:
    """Return a scalar in TOML, which for these values has the syntax of JSON."""
    return json.dumps(value, ensure_ascii=False)


def table(rules: Sequence[Sketch]) -> str:
    return "\n\n".join(rule.toml() for rule in rules)


# ------------------------------------------------------------------------------------------------------- the judge


@dataclass(frozen=True)
class Verdict:
    """The judge's decision after a stop: the next stop or the outcome, the rule, and the fields that were read."""

    stop: str | None
    ending: str | None
    reason: str | None
    rule: str | None
    reads: frozenset[str] | None


def judge(rules: Sequence[Sketch], after: str, record: Record) -> Verdict:
    """Return the decision of the first rule after `after` that holds, found by trying one rule after another."""
    reads: frozenset[str] | None = frozenset()
    own = [rule for rule in rules if rule.after == after]
    for rule in own:
        if reads is not None:
            reads |= {name for name, _ in rule.match}
        if not all(same(record.get(name), value) for name, value in rule.match):
            continue
        if rule.clause is not None:
            reads = None if reads is None or rule.clause.fields is None else reads | rule.clause.fields
            try:
                if not holds(rule.clause, record):
                    continue
            except Wrong:
                return Verdict(None, "dead", "rule_error", rule.name, reads)
        if rule.drop is not None:
            return Verdict(None, "dropped", rule.drop, rule.name, reads)
        if rule.to in ENDS:
            return Verdict(None, "delivered", None if rule.to == "end" else rule.to, rule.name, reads)
        return Verdict(rule.to, None, None, rule.name, reads)
    if own:
        return Verdict(None, "dead", "unroutable", None, reads)
    return Verdict(None, "delivered", None, None, reads)


def holds(clause: Clause, record: Record) -> bool:
    """Return whether a condition holds; raise `Wrong` if that cannot be decided."""
    try:
        return truth(clause.answer(record))
    except NullMet:
        return False


class NullMet(Exception):
    """Raised by the judge where null, or a field that is absent, stands in the place of another value."""


class Wrong(Exception):
    """Raised by the judge for a value that an operation cannot take."""


def kind(value: Any) -> str:
    names = {bool: "bool", int: "number", float: "number", str: "text", list: "list", dict: "object"}
    return "null" if value is None else names[type(value)]


def needed(value: Any, *kinds: str) -> Any:
    """Return a value of one of these kinds."""
    if value is None:
        raise NullMet
    if kind(value) not in kinds:
        raise Wrong(f"{kind(value)} is none of {kinds}")
    return value


def truth(value: Any) -> bool:
    return bool(needed(value, "bool"))


def same(one: Any, other: Any) -> bool:
    """Return whether two values are equal: numbers by what they count, everything else within its kind."""
    if kind(one) != kind(other):
        return False
    if isinstance(one, list):
        return len(one) == len(other) and all(map(same, one, other))
    if isinstance(one, dict):
        return set(one) == set(other) and all(same(one[name], other[name]) for name in one)
    return bool(one == other)


def compared(sign: Callable[[Any, Any], bool], one: Any, other: Any) -> bool:
    if one is None or other is None:
        raise NullMet
    ordered = ("bool", "number", "text")
    if needed(one, *ordered) is not None and kind(one) != kind(needed(other, *ordered)):
        raise Wrong("two kinds")
    return sign(one, other)


over, under = partial(compared, operator.gt), partial(compared, operator.lt)


def counted(sign: Callable[[Fraction, Fraction], Fraction], one: Any, other: Any) -> int | float:
    """Return the exact result; raise `Wrong` if it is that of whole numbers and needs more than 64 bits."""
    if one is None or other is None:
        raise NullMet
    first, second = Fraction(needed(one, "number")), Fraction(needed(other, "number"))
    if sign is operator.truediv and second == 0:
        raise Wrong("division by zero")
    result = sign(first, second)
    if result.denominator > 1:
        return float(result)
    if not -(2**63) <= result < 2**64:
        raise Wrong("more than 64 bits")
    return int(result)


def at(value: Any, *steps: Any) -> Any:
    """Return the value at the end of a path, which is null from the first null on."""
    for step in steps:
        if value is None or step is None:
            return None
        if isinstance(value, dict) and isinstance(step, str):
            value = value.get(step)
        elif isinstance(value, list) and kind(step) == "number":
            if step < 0 or step % 1:
                raise Wrong("no index")
            value = value[int(step)] if step < len(value) else None
        else:
            raise Wrong("no element")
    return value


def among(value: Any, values: Any) -> bool:
    if isinstance(needed(values, "list", "object"), dict):
        return isinstance(value, str) and value in values
    return any(same(value, one) for one in values)


def decided(parts: Sequence[Callable[[], Any]], decisive: bool) -> bool:
    """Return what parts that are joined by `||` (which True decides) or by `&&` (which False decides) come to."""
    failures: list[Exception] = []
    for part in parts:
        try:
            if truth(part()) is decisive:
                return decisive
        except (NullMet, Wrong) as failure:
            failures.append(failure)
    if failures:
        raise min(failures, key=lambda one: isinstance(one, NullMet))
    return not decisive


def some(values: Any, predicate: Callable[[Any], Any]) -> bool:
    return decided([partial(predicate, value) for value in needed(values, "list")], decisive=True)


def every(values: Any, predicate: Callable[[Any], Any]) -> bool:
    return decided([partial(predicate, value) for value in needed(values, "list")], decisive=False)


def either(one: Callable[[], Any], other: Callable[[], Any]) -> bool:
    return decided([one, other], decisive=True)


def both(one: Callable[[], Any], other: Callable[[], Any]) -> bool:
    return decided([one, other], decisive=False)


def is_written(value: Any, text: str) -> bool:
    """Return whether a value is written as this text, which is a whole number."""
    return same(value, int(text)) or needed(value, "number", "bool", "text") == text


# ------------------------------------------------------------------------------------------- what worlds are made of

FIELDS = ("a", "b", "c", "l", "n", "int", "x y")
STOPS = ("s0", "s1", "s2", "s3")

ENDS = frozenset({"end", "shipped", "archived"})


def clause(text: str, fields: str | None, answer: Callable[[Record], Any]) -> Clause:
    """Return a condition that reads fields, whose names are separated by commas."""
    return Clause(text, None if fields is None else frozenset(fields.split(",")), answer)


CLAUSES = (
    clause("a == 1", "a", lambda r: same(r.get("a"), 1)),
    clause("a == 1.0", "a", lambda r: same(r.get("a"), 1)),
    clause("a == true", "a", lambda r: r.get("a") is True),
    clause("a == null", "a", lambda r: r.get("a") is None),
    clause("a != b", "a,b", lambda r: not same(r.get("a"), r.get("b"))),
    clause("a > 1", "a", lambda r: over(r.get("a"), 1)),
    clause("a + 1 > b", "a,b", lambda r: over(counted(operator.add, r.get("a"), 1), r.get("b"))),
    clause("1 / a > 0", "a", lambda r: over(counted(operator.truediv, 1, r.get("a")), 0)),
    clause("a * 9007199254740993 > 0", "a", lambda r: over(counted(operator.mul, r.get("a"), 2**53 + 1), 0)),
    clause("b.startsWith('x')", "b", lambda r: needed(r.get("b"), "text").startswith("x")),
    clause("b < 'm'", "b", lambda r: under(r.get("b"), "m")),
    clause("b == null || a > 1", "a,b", lambda r: r.get("b") is None or over(r.get("a"), 1)),
    clause("b != null && a < 2", "a,b", lambda r: r.get("b") is not None and under(r.get("a"), 2)),
    clause("b ? a == 1 : c == 1", "a,b,c", lambda r: same(r.get("a" if truth(r.get("b")) else "c"), 1)),
    clause("c", "c", lambda r: r.get("c")),
    clause("!c", "c", lambda r: not truth(r.get("c"))),
    clause("c == 'a' // and a > 1", "c", lambda r: same(r.get("c"), "a")),
    clause("c in ['x', 1, true]", "c", lambda r: among(r.get("c"), ["x", 1, True])),
    clause("a in l", "a,l", lambda r: among(r.get("a"), r.get("l"))),
    clause("size(l) > 1", "l", lambda r: len(needed(r.get("l"), "text", "list", "object")) > 1),
    clause("l[0] == 1", "l", lambda r: same(at(r, "l", 0), 1)),
    clause("l[a] == 1", "a,l", lambda r: same(at(r, "l", r.get("a")), 1)),
    clause("l == [1, 2]", "l", lambda r: same(r.get("l"), [1, 2])),
    clause("l.exists(e, e > 1)", "l", lambda r: some(r.get("l"), lambda e: over(e, 1))),
    clause(
        "l.all(a, a > 0) || a == 1",
        "a,l",
        lambda r: either(lambda: every(r.get("l"), lambda a: over(a, 0)), lambda: same(r.get("a"), 1)),
    ),
    clause(
        "l.filter(e, e.k > 1).exists(e, e.l > 1)",
        "l",
        lambda r: some([e for e in needed(r.get("l"), "list") if over(at(e, "k"), 1)], lambda e: over(at(e, "l"), 1)),
    ),
    clause(
        "l.exists(e, l.all(f, f == null || e >= f))",
        "l",
        lambda r: some(r.get("l"), lambda e: every(r.get("l"), lambda f: f is None or compared(operator.ge, e, f))),
    ),
    clause("n.k == 1", "n", lambda r: same(at(r, "n", "k"), 1)),
    clause("n.k.k > a", "a,n", lambda r: over(at(r, "n", "k", "k"), r.get("a"))),
    clause("n['x y'] == 1", "n", lambda r: same(at(r, "n", "x y"), 1)),
    clause("has(n.k)", "n", lambda r: r.get("n") is not None and "k" in needed(r["n"], "object")),
    clause("n == {'k': 1}", "n", lambda r: same(r.get("n"), {"k": 1})),
    clause("n.exists(k, n[k] == 1)", "n", lambda r: some(r.get("n"), lambda k: same(at(r, "n", k), 1))),
    clause("n.l.exists(e, e > 1)", "n", lambda r: some(at(r, "n", "l"), lambda e: over(e, 1))),
    clause("type(a) == int", "a", lambda r: kind(r.get("a")) == "number" and r["a"] % 1 == 0),
    clause("int > 1", "int", lambda r: over(r.get("int"), 1)),
    clause("string(a) == '1'", "a", lambda r: is_written(r.get("a"), "1")),
    clause("record['x y'] == 1", "x y", lambda r: same(r.get("x y"), 1)),
    clause("record['x y'] == null", "x y", lambda r: r.get("x y") is None),
    clause("record['x y'] > a", "x y,a", lambda r: over(r.get("x y"), r.get("a"))),
    clause("record['a'] < b", "a,b", lambda r: under(r.get("a"), r.get("b"))),
    clause("record.a == 1", "a", lambda r: same(r.get("a"), 1)),
    clause("has(record.c)", None, lambda r: "c" in r),
    clause("size(record) > 3", None, lambda r: len(r) > 3),
    clause("record['x y'] == 1 && 'c' in record", None, lambda r: same(r.get("x y"), 1) and "c" in r),
    clause("record == {'a': 1}", None, lambda r: same(r, {"a": 1})),
    clause(
        "l.map(e, e.k).exists(e, e == 1)",
        "l",
        lambda r: some([at(e, "k") for e in needed(r.get("l"), "list")], lambda e: same(e, 1)),
    ),
    clause("[1, 2].exists(e, e > a)", "a", lambda r: some([1, 2], lambda e: over(e, r.get("a")))),
    clause(
        "[a, b].exists(e, e.k > 1)",
        "a,b",
        lambda r: some([r.get("a"), r.get("b")], lambda e: over(at(e, "k"), 1)),
    ),
)


def joined(sign: str, left: Clause, right: Clause) -> Clause:
    """Return two conditions joined into one."""
    fields = None if left.fields is None or right.fields is None else left.fields | right.fields
    text = f"({left.text.partition(' //')[0]}) {sign} ({right.text.partition(' //')[0]})"
    join = either if sign == "||" else both
    return Clause(text, fields, lambda record: join(lambda: left.answer(record), lambda: right.answer(record)))


clauses = st.one_of(
    st.sampled_from(CLAUSES),
    st.builds(joined, st.sampled_from(["&&", "||"]), st.sampled_from(CLAUSES), st.sampled_from(CLAUSES)),
)

scalars = st.sampled_from(
    [None, True, False, 0, 1, 1.0, 2, 2.0, -1, 2.5, -0.0, 2**53, 2**53 + 1, 2.0**53, 2**63, "", "1", "x", "xy", "z"]
)
nested = st.recursive(
    scalars,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.sampled_from(["k", "l", "x y"]), inner, max_size=3)
    ),
    max_leaves=4,
)
lists = st.one_of(st.just([1, 2]), st.lists(nested, max_size=3))
objects = st.one_of(st.just({"k": 1}), st.dictionaries(st.sampled_from(["k", "l", "x y"]), nested, max_size=3))
values = st.one_of(scalars, scalars, nested)

numbers = st.one_of(st.integers(-1, 3), st.sampled_from([1.0, 2.0, 2.5]), values)
texts = st.one_of(st.sampled_from(["x", "xy", "z", "1"]), values)

records = st.fixed_dictionaries(
    {},
    optional={
        "a": numbers,
        "b": texts,
        "c": st.one_of(st.booleans(), values),
        "l": st.one_of(lists, lists, values),
        "n": st.one_of(objects, objects, values),
        "int": values,
        "x y": numbers,
    },
)

matches = st.dictionaries(
    st.sampled_from(["a", "b", "c", "x y"]), scalars.filter(lambda value: value is not None), min_size=1, max_size=2
).map(lambda match: tuple(match.items()))


@st.composite
def tables(draw: st.DrawFn) -> tuple[Sketch, ...]:
    """Draw rules with cycles, drops, ends of the line, and stops that some records cannot leave, in any order."""
    by_stop: list[list[Sketch]] = []
    for after in ("source", *STOPS):
        own: list[Sketch] = []
        for number in range(draw(st.integers(0, 2))):
            match = draw(st.one_of(st.just(()), matches))
            condition = draw(clauses if not match else st.one_of(st.none(), clauses))
            own.append(_led(draw, Sketch(f"{after}.{number}", after, match, condition)))
        if draw(st.integers(0, 7)) and (own or after == "source" or draw(st.booleans())):
            own.append(_led(draw, Sketch(f"{after}.rest", after)))
        by_stop.append(own)
    order = draw(st.permutations([stop for stop, own in enumerate(by_stop) for _ in own]))
    return tuple(by_stop[stop].pop(0) for stop in order)


def _led(draw: st.DrawFn, rule: Sketch) -> Sketch:
    if draw(st.integers(0, 9)):
        to = draw(st.sampled_from(STOPS if draw(st.integers(0, 5)) else sorted(ENDS)))
        return Sketch(rule.name, rule.after, rule.match, rule.clause, to=to)
    return Sketch(rule.name, rule.after, rule.match, rule.clause, drop=f"dropped by {rule.name}")


# ---------------------------------------------------------------------------------------------------- services

Change = Callable[[Record], Any]


def put(field: str, value: Any) -> Change:
    def change(record: Record) -> None:
        record[field] = copy.deepcopy(value)

    return change


def remove(field: str) -> Change:
    def change(record: Record) -> None:
        record.pop(field, None)

    return change


def retype(field: str) -> Change:
    """Turn 1 into 1.0, 1.0 into True, True into "1" and "1" into 1."""

    def change(record: Record) -> None:
        value = record.get(field)
        if isinstance(value, bool):
            record[field] = str(int(value))
        elif isinstance(value, int):
            record[field] = float(value)
        elif isinstance(value, float):
            record[field] = bool(value)
        elif isinstance(value, str) and value.isdecimal():
            record[field] = int(value)

    return change


def deepen(field: str) -> Change:
    """Change a nested value in place."""

    def change(record: Record) -> None:
        value = record.get(field)
        if isinstance(value, list):
            value.append(len(value))
        elif isinstance(value, dict):
            value["k"] = value.get("k") is None or None

    return change


def count(field: str) -> Change:
    def change(record: Record) -> None:
        value = record.get(field)
        record[field] = value + 1 if isinstance(value, int) and value < 100 else 0

    return change


def make_tuple(field: str) -> Change:
    """Turn a list into a tuple, which JSON makes a list again; replace any other value by a tuple of unusual values."""

    def change(record: Record) -> None:
        value = record.get(field)
        record[field] = tuple(value) if isinstance(value, list) else (1, float("nan"), (2,))

    return change


def swap(record: Record) -> None:
    record["a"], record["b"] = record.get("b"), record.get("a")


def rebuild(record: Record) -> Record:
    """Return a new object with the fields in another order and copies of the values."""
    return {name: copy.deepcopy(record[name]) for name in reversed(record)}


def reorder(record: Record) -> None:
    """Reverse the keys of nested objects, in place."""
    for name, value in record.items():
        if isinstance(value, dict):
            record[name] = dict(reversed(value.items()))


def give_up(field: str, value: Any) -> Change:
    def change(record: Record) -> Drop | None:
        return Drop(f"{field} is {value!r}") if record.get(field) == value else None

    return change


some_field = st.sampled_from(FIELDS)


class Word(str):
    """A subclass of str, which JSON encodes as a plain string."""


class Number(IntEnum):
    ONE = 1


@dataclass
class Pair:
    k: int
    l: list[int]  # noqa: E741 - it is a field of the records


odd_values = st.sampled_from(
    [
        *(float("nan"), float("inf"), (), (1, 2), {"k": (1,)}, {"k": float("nan")}, [(1, 2)]),
        *(Word("x"), Number.ONE, [Number.ONE], Pair(1, [1]), OrderedDict(k=1), UUID(int=1), date(2020, 1, 1)),
    ]
)
changes = st.one_of(
    st.builds(put, some_field, st.one_of(values, lists, objects)),
    st.builds(put, some_field, odd_values),
    st.builds(remove, some_field),
    st.builds(retype, some_field),
    st.builds(deepen, st.sampled_from(["l", "n"])),
    st.builds(count, st.sampled_from(["a", "c", "x y"])),
    st.builds(make_tuple, st.sampled_from(["l", "n", "a"])),
    st.sampled_from([swap, rebuild, reorder]),
    st.builds(give_up, st.sampled_from(["a", "b"]), scalars),
)


@dataclass(frozen=True)
class Service:
    """A handler that makes its changes one after another."""

    changes: tuple[Change, ...]

    def __call__(self, record: Record) -> Any:
        for change in self.changes:
            result = change(record)
            if isinstance(result, Drop):
                return result
            if result is not None:
                record = result
        return record


services = st.fixed_dictionaries({stop: st.builds(Service, st.lists(changes, max_size=3).map(tuple)) for stop in STOPS})


def as_json(record: Record) -> Record:
    """Return the record after a round trip over the bus."""
    sent: Record = orjson.loads(orjson.dumps(record))
    return sent
