"""Worlds drawn by Hypothesis: rules tables, records and services; and a judge that decides them naively.

The judge shares no code with routing/. It tries rule after rule and hands the fields of the record to CEL. The places
that a condition reads are listed by hand, and show whether a null decides. The judge is slow and simple, so that its
verdicts are easy to trust.
"""

from __future__ import annotations

import copy
import json
import os
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date
from enum import IntEnum
from typing import Any
from uuid import UUID

import cel
import orjson
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

from metroline.routing.outcome import Drop

Record = dict[str, Any]
Handler = Callable[[Record], Any]
Place = tuple[Any, ...]

EACH = "each element"
"""A step of a path that stands for all elements of a list, or all values of an object."""


TIMES = float(os.environ.get("EXAMPLES") or 0.4)
"""Factor for the number of examples; `make test-long` and `make test-properties` set it."""
LEAST = 25
"""Number of examples that the factor does not go below."""


def examples(number: int) -> settings:
    """Return settings for this many examples, without a deadline for a busy machine to miss."""
    tried = max(min(number, LEAST), round(number * TIMES))
    return settings(max_examples=tried, deadline=None, suppress_health_check=[HealthCheck.too_slow])


class Undecided(Exception):
    """Raised by the judge if a condition can be decided neither by CEL nor by the rule for null."""


@dataclass(frozen=True)
class Clause:
    """A condition and its fields, listed by hand; None stands for the whole record."""

    text: str
    fields: frozenset[str] | None
    places: tuple[Place, ...] = ()
    """Places where a null means that the condition does not hold, if CEL cannot decide it."""
    ranges: tuple[Place, ...] = ()
    """Places of the values that a comprehension iterates over."""


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
        if not all(equals(record.get(name), value) for name, value in rule.match):
            continue
        if rule.clause is not None:
            reads = None if reads is None or rule.clause.fields is None else reads | rule.clause.fields
            try:
                if not holds(rule.clause, record):
                    continue
            except Undecided:
                return Verdict(None, "dead", "rule_error", rule.name, reads)
        if rule.drop is not None:
            return Verdict(None, "dropped", rule.drop, rule.name, reads)
        if rule.to in ENDS:
            return Verdict(None, "delivered", None if rule.to == "end" else rule.to, rule.name, reads)
        return Verdict(rule.to, None, None, rule.name, reads)
    if own:
        return Verdict(None, "dead", "unroutable", None, reads)
    return Verdict(None, "delivered", None, None, reads)


EQUAL = cel.compile("found == wanted")
PROGRAMS: dict[str, cel.Program] = {}


def equals(found: Any, wanted: Any) -> bool:
    """Return whether two values are equal for `match`, which uses CEL's own ==."""
    return EQUAL.execute({"found": found, "wanted": wanted}) is True


def holds(clause: Clause, record: Record) -> bool:
    """Return whether a condition holds.

    CEL decides; if it cannot, the condition does not hold if a value that it reads is null or absent.
    """
    if any(isinstance(found(record, place), dict) for place in clause.ranges):
        raise Undecided("a comprehension over an object")
    if clause.text not in PROGRAMS:
        PROGRAMS[clause.text] = cel.compile(clause.text)
    names = [name for name in FIELDS if name.isidentifier() and (name not in TYPES or record.get(name) is not None)]
    variables: Record = {name: record.get(name) for name in names}
    variables["record"] = record if clause.fields is None else {name: record.get(name) for name in FIELDS}
    try:
        answer = PROGRAMS[clause.text].execute(variables)
    except LookupError:
        return False
    except Exception as error:
        if any(is_null(record, place) for place in clause.places):
            return False
        raise Undecided(str(error)) from error
    if not isinstance(answer, bool):
        raise Undecided("neither true nor false")
    return answer


def found(value: Any, place: Place) -> Any:
    for step in place:
        value = value.get(step) if isinstance(value, dict) else None
    return value


def is_null(value: Any, place: Place) -> bool:
    """Return whether the value at a place, or a value on the path to it, is null or absent."""
    if value is None or not place:
        return value is None
    step, rest = place[0], place[1:]
    if step == EACH:
        elements = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
        return any(is_null(element, rest) for element in elements)
    if isinstance(value, dict):
        return is_null(value.get(step), rest)
    if isinstance(value, list):
        return isinstance(step, int) and (step >= len(value) or is_null(value[step], rest))
    return False


# ------------------------------------------------------------------------------------------- what worlds are made of

FIELDS = ("a", "b", "c", "l", "n", "int", "x y")
TYPES = ("int",)
"""Fields with the name of a CEL type."""

STOPS = ("s0", "s1", "s2", "s3")

ENDS = frozenset({"end", "shipped", "archived"})


def clause(text: str, *places: str | Place, whole: bool = False, over: Place | None = None) -> Clause:
    """Return a condition that reads these places; a string stands for the place of a field."""
    paths = tuple((place,) if isinstance(place, str) else place for place in places)
    fields = None if whole else frozenset(str(path[0]) for path in paths)
    return Clause(text, fields, tuple(path for path in paths if path[-1] not in TYPES), (over,) if over else ())


CLAUSES = (
    clause("a == 1", "a"),
    clause("a == 1.0", "a"),
    clause("a == true", "a"),
    clause("a == null", "a"),
    clause("a != b", "a", "b"),
    clause("a > 1", "a"),
    clause("a + 1 > b", "a", "b"),
    clause("1 / a > 0", "a"),
    clause("a * 9007199254740993 > 0", "a"),
    clause("b.startsWith('x')", "b"),
    clause("b < 'm'", "b"),
    clause("b == null || a > 1", "a", "b"),
    clause("b != null && a < 2", "a", "b"),
    clause("b ? a == 1 : c == 1", "a", "b", "c"),
    clause("c", "c"),
    clause("!c", "c"),
    clause("c == 'a' // and a > 1", "c"),
    clause("c in ['x', 1, true]", "c"),
    clause("a in l", "a", "l"),
    clause("size(l) > 1", "l"),
    clause("l[0] == 1", ("l", 0)),
    clause("l[a] == 1", "a", ("l", EACH)),
    clause("l == [1, 2]", "l"),
    clause("l.exists(e, e > 1)", ("l", EACH), over=("l",)),
    clause("l.all(a, a > 0) || a == 1", ("l", EACH), "a", over=("l",)),
    clause("l.filter(e, e.k > 1).exists(e, e.l > 1)", ("l", EACH, "k"), ("l", EACH, "l"), over=("l",)),
    clause("n.k == 1", ("n", "k")),
    clause("n.k.k > a", ("n", "k", "k"), "a"),
    clause("n['x y'] == 1", ("n", "x y")),
    clause("has(n.k)", ("n", "k")),
    clause("n == {'k': 1}", "n"),
    clause("n.exists(k, n[k] == 1)", ("n", EACH), over=("n",)),
    clause("n.l.exists(e, e > 1)", ("n", "l", EACH), over=("n", "l")),
    clause("type(a) == int", "a", "int"),
    clause("int > 1", "int"),
    clause("string(a) == '1'", "a"),
    clause("record['x y'] == 1", "x y"),
    clause("record['x y'] == null", "x y"),
    clause("record['x y'] > a", "x y", "a"),
    clause("record['a'] < b", "a", "b"),
    clause("has(record.c)", "c", whole=True),
    clause("size(record) > 3", (EACH,), whole=True),
    clause("record.a == 1", "a", whole=True),
    clause("record['x y'] == 1 && 'c' in record", "x y", (EACH,), whole=True),
    clause("record == {'a': 1}", (EACH,), whole=True),
)
SINGLE = (
    clause("l.map(e, e.k).exists(e, e == 1)", ("l", EACH, "k"), over=("l",)),
    clause("[1, 2].exists(e, e > a)", "a"),
    clause("[a, b].exists(e, e.k > 1)", ("a", "k"), ("b", "k")),
)
"""Conditions that are never joined: a joined one would raise the question whose null decides."""


def joined(sign: str, left: Clause, right: Clause) -> Clause:
    """Return two conditions joined into one."""
    fields = None if left.fields is None or right.fields is None else left.fields | right.fields
    text = f"({left.text.partition(' //')[0]}) {sign} ({right.text.partition(' //')[0]})"
    return Clause(text, fields, left.places + right.places, left.ranges + right.ranges)


clauses = st.one_of(
    st.sampled_from(CLAUSES + SINGLE),
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
