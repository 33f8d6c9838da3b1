"""Values worth trying at the places that rules read: those at the limits of comparisons, members of lists, and none."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from functools import partial
from typing import Any

from metroline.routing.records.fingerprints import MAX_INTEGER, MIN_INTEGER, fingerprint
from metroline.routing.rules.cel.reading import Path
from metroline.routing.rules.cel.syntax_tree import (
    Call,
    Comprehension,
    Constant,
    Field,
    ListOf,
    Node,
    ObjectOf,
    children,
)
from metroline.routing.rules.meaning.places import ABSENT, Scope, computed_in, element_of, place_of, places_in
from metroline.routing.rules.rule import Rule, alternatives

MAX_VALUES = 300
"""Number of values that are tried at one place."""

MAX_LENGTH = 1_000
"""Length of the longest text or list that is tried."""

COMPARISONS = frozenset({"_==_", "_!=_", "_<_", "_<=_", "_>_", "_>=_"})

ORDERED = COMPARISONS - {"_==_", "_!=_"}

TEXT_METHODS = frozenset({"startsWith", "endsWith", "contains", "matches"})

TIMES = ("1970-01-01T00:00:00Z", "2999-12-31T23:59:59Z")
"""Times before and after those that conditions name."""

PATTERN_SIGNS = "^$.*+?()[]{}\\"
"""The characters with a meaning in regular expressions, apart from `|`."""

EVERY_KIND: tuple[Any, ...] = (True, False, 1, "a", [], {})
"""Values for a place at which a condition compares nothing with a constant."""

Candidates = dict[Path, list[Any]]
"""The values worth trying, by place. `ABSENT` is the first of each."""


Compiled = tuple[Rule, Node | None]
"""A rule with the syntax tree of its condition."""


def candidates(differing: Iterable[Compiled], others: Iterable[Compiled]) -> Candidates:
    """Return the values worth trying for the rules that differ between two tables, and for the other ones.

    Those of the first come first, and among them those that the fewest rules name: of two long lists, the members in
    which they differ.
    """
    found: dict[Path, dict[Any, Any]] = {}
    named: Counter[tuple[Path, Any]] = Counter()
    first: set[tuple[Path, Any]] = set()
    for rules in (differing, others):
        for rule, root in rules:
            own = {(place, _key(value)): value for place, value in _in_rule(rule, root)}
            named.update(own.keys())
            for (place, key), value in own.items():
                found.setdefault(place, {}).setdefault(key, value)
        first = first or set(named)

    def order(place: Path, key: Any) -> tuple[bool, bool, int]:
        return key is not ABSENT, (place, key) not in first, named[place, key]

    for values in found.values():
        if all(value is ABSENT or value is None for value in values.values()):
            values |= {_key(value): value for value in EVERY_KIND}
    return {
        place: [values[key] for key in sorted(values, key=partial(order, place))[:MAX_VALUES]]
        for place, values in found.items()
    }


def _key(value: Any) -> Any:
    return value if value is ABSENT else fingerprint(value)


def _in_rule(rule: Rule, root: Node | None) -> Iterator[tuple[Path, Any]]:
    """Yield places with values that a rule tells from others."""
    for name, wanted in rule.match.items():
        values = alternatives(wanted)
        yield from (((name,), value) for value in (ABSENT, *values, _other(values)))
    if root is not None:
        yield from _in_condition(root, {})


def _in_condition(node: Node, scope: Scope) -> Iterator[tuple[Path, Any]]:
    """Yield places with values that a condition tells from others."""
    if isinstance(node, Comprehension):
        yield from _in_condition(node.range, scope)
        for over in places_in(node.range, scope):
            yield over, ABSENT
            yield over, []
        inner: Scope = {**scope, node.variable: element_of(node.range, scope)}
        for part in (node.predicate, node.transform):
            if part is not None:
                yield from _in_condition(part, inner)
        return
    place = place_of(node, scope)
    if place is not None:
        if place:
            yield place, ABSENT
        if isinstance(node, Field) and node.is_test:
            yield place, None
        for index in computed_in(node):
            yield from ((own, value) for own in places_in(index, scope) for value in (ABSENT, 0))
            yield from _in_condition(index, scope)
        return
    if isinstance(node, Call):
        yield from _in_call(node, scope)
    for part in children(node):
        yield from _in_condition(part, scope)


def _in_call(node: Call, scope: Scope) -> Iterator[tuple[Path, Any]]:
    constants = list({fingerprint(value): value for value in _constants(node)}.values())
    if node.function in COMPARISONS:
        for place in places_in(node, scope):
            for constant in constants:
                yield from ((place, value) for value in _around(constant))
                if node.function in ORDERED:
                    yield place, [] if type(constant) is str else "a"  # of another kind, for which the rule fails
            yield from ((place, value) for value in _computed(node, constants))
        for measured in _measured(node, scope):
            yield from _sizes(measured, constants)
        if any(isinstance(part, Call) and part.function == "type" for part in node.arguments):
            yield from ((place, value) for place in places_in(node, scope) for value in (*EVERY_KIND, None, 1.5))
        if not constants:
            yield from ((place, value) for place in places_in(node, scope) for value in (0, 1, "a", "b"))
    elif node.function == "@in":
        yield from _membership(node, scope, constants)
    elif node.function in TEXT_METHODS:
        for place in places_in(node.arguments[0], scope):
            for text in (one for one in constants if isinstance(one, str)):
                yield from ((place, value) for value in _texts(node.function, text))
    elif node.function in ("_&&_", "_||_", "!_", "_?_:_"):
        for part in node.arguments[: 1 if node.function == "_?_:_" else None]:
            if own := place_of(part, scope):
                yield own, True
                yield own, False


def _membership(node: Call, scope: Scope, constants: list[Any]) -> Iterator[tuple[Path, Any]]:
    one, many = node.arguments
    place, inside = place_of(one, scope), place_of(many, scope)
    if place and isinstance(many, ListOf):
        members = [element.value for element in many.elements if isinstance(element, Constant)]
        yield from ((place, value) for value in members)
        yield place, _other(tuple(members))
    elif inside is not None and isinstance(one, Constant):
        if inside:
            yield inside, [one.value]
            yield inside, []
        elif isinstance(one.value, str):
            yield (one.value,), ABSENT
            yield (one.value,), 1
    elif inside and place:
        yield from ((place, value) for value in (1, "a"))
        yield from ((inside, value) for value in ([1], ["a"], []))


def _constants(node: Node) -> Iterator[Any]:
    """Yield the constants in a part of a condition, except bytes, which no record has."""
    if isinstance(node, Constant):
        if type(node.value) is not bytes:
            yield node.value
    elif isinstance(node, Call) and node.function == "-_" and isinstance(node.arguments[0], Constant):
        yield -node.arguments[0].value
    elif (written := _written(node)) is not None:
        yield written
    else:
        for part in children(node):
            yield from _constants(part)


def _written(node: Node) -> Any:
    """Return the list or object that a node writes out in constants; None if it is none."""
    if not isinstance(node, (ListOf, ObjectOf)):
        return None
    parts = [part.value if isinstance(part, Constant) else _written(part) for part in children(node)]
    if any(value is None or type(value) is bytes for value in parts):
        return None
    return parts if isinstance(node, ListOf) else dict(zip(parts[::2], parts[1::2], strict=True))


def _around(constant: Any) -> Iterator[Any]:
    """Yield a constant and its neighbours."""
    yield constant
    if type(constant) is int:
        yield from (value for value in (constant - 1, constant + 1) if MIN_INTEGER <= value <= MAX_INTEGER)
    elif type(constant) is float:
        yield from (constant - 1, constant + 1)
    elif type(constant) is bool:
        yield not constant
    elif type(constant) is str:
        yield from ("", f"{constant}a")
        if constant[:4].isdigit() and constant[4:5] == "-":
            yield from TIMES


def _computed(node: Call, constants: list[Any]) -> Iterator[Any]:
    """Yield numbers for the places in a comparison that computes with several constants."""
    numbers = [value for value in constants if type(value) in (int, float)]
    if len(numbers) < 2:
        return
    for one in numbers:
        for other in numbers:
            results = [one + other, one - other, one * other]
            results += [one / other, one // other] if other else []
            for result in results:
                yield from (value for value in (result, result - 1, result + 1) if abs(value) < MAX_INTEGER / 2)


def _measured(node: Call, scope: Scope) -> Iterator[Path]:
    """Yield the places whose size a comparison is about."""
    for part in node.arguments:
        if isinstance(part, Call) and part.function == "size":
            yield from places_in(part, scope)


def _sizes(place: Path, constants: list[Any]) -> Iterator[tuple[Path, Any]]:
    for size in (value for value in constants if type(value) is int):
        for length in (size - 1, size, size + 1):
            if 0 <= length <= MAX_LENGTH:
                yield place, "a" * length
                yield place, [0] * length


def _texts(function: str, text: str) -> Iterator[str]:
    """Yield texts for which a method holds with this argument, and others for which it may not."""
    if function != "matches":
        yield from (text, f"{text}a", f"a{text}", f"a{text}a", "", "b")
        return
    for alternative in text.split("|"):
        plain = "".join(sign for sign in alternative if sign not in PATTERN_SIGNS)
        yield from (plain, f"a{plain}", f"{plain}a", f"{plain}1", f"{plain} 1")
    yield ""


def _other(values: tuple[Any, ...]) -> Any:
    """Return a value that is none of these, of the kind of the first one if that has many."""
    first = values[0] if values else None
    if type(first) in (int, float):
        return 1 + max(value for value in values if type(value) in (int, float))
    if type(first) is bool:
        return None
    other = "other"
    while other in values:
        other += "s"
    return other
