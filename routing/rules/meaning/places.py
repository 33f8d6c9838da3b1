"""Places in a record, or in its metadata, with the values that a record is to have there."""

from __future__ import annotations

from collections.abc import Iterator
from copy import deepcopy
from enum import Enum
from itertools import pairwise
from typing import Any, Final

from metroline.routing.messages.metadata import NO_TIMESTAMP
from metroline.routing.records.fingerprints import fingerprint
from metroline.routing.rules.cel.evaluation import META, RECORD
from metroline.routing.rules.cel.reading import ANY, IN_META, Path
from metroline.routing.rules.cel.syntax_tree import (
    Call,
    Comprehension,
    Constant,
    Field,
    ListOf,
    Macro,
    Name,
    Node,
    children,
)
from metroline.routing.rules.rule_meta import RuleMeta

MAX_INDEX = 20
"""Highest index of a list at which a record is given a value."""


class _Absent(Enum):
    ABSENT = "absent"


ABSENT: Final = _Absent.ABSENT
"""The value of a place that a record does not have."""

Assignment = dict[Path, Any]
"""The values at some places of a record. A place that is not among them is absent, too, but may still be given one."""

Scope = dict[str, Path | None]
"""The variables of the comprehensions around a node, with the places for which they stand; None if it is none."""


def place_of(node: Node, scope: Scope) -> Path | None:
    """Return the place that a node names, such as `customer.plan` or `meta.headers["type"]`; None if it names none."""
    steps: list[Any] = []
    while not isinstance(node, Name):
        if isinstance(node, Field):
            steps.append(node.name)
            node = node.operand
        elif isinstance(node, Call) and node.function == "_[_]":
            index = node.arguments[1]
            steps.append(index.value if isinstance(index, Constant) and type(index.value) in (str, int) else ANY)
            node = node.arguments[0]
        else:
            return None
    steps.reverse()
    if node.name in scope:
        over = scope[node.name]
        return None if over is None else (*over, *steps)
    if node.name == META:
        return (IN_META, *steps)
    return tuple(steps) if node.name == RECORD else (node.name, *steps)


def element_of(node: Node, scope: Scope) -> Path | None:
    """Return the place of the elements at which a comprehension over a node looks; None if they are in no one place."""
    if isinstance(node, Comprehension):
        inner = element_of(node.range, scope)
        if node.macro is Macro.FILTER:
            return inner
        is_map = node.macro is Macro.MAP and node.transform is not None
        return place_of(node.transform, {**scope, node.variable: inner}) if is_map and node.transform else None
    if isinstance(node, ListOf):
        return next((place for one in node.elements if (place := place_of(one, scope))), None)
    over = place_of(node, scope)
    return (*over, ANY) if over else None


def computed_in(node: Node) -> Iterator[Node]:
    """Yield the indexes in a name of a place that are computed, such as `n` in `items[n].price`."""
    while isinstance(node, (Field, Call)):
        if isinstance(node, Field):
            node = node.operand
            continue
        if node.function != "_[_]":
            return
        if not isinstance(node.arguments[1], Constant):
            yield node.arguments[1]
        node = node.arguments[0]


def places_in(node: Node, scope: Scope) -> Iterator[Path]:
    """Yield the places that a node and its parts name, the longest ones only."""
    place = place_of(node, scope)
    if place is not None:
        if place:
            yield place
        for index in computed_in(node):
            yield from places_in(index, scope)
        return
    if isinstance(node, Call) and node.function == "@in" and place_of(node.arguments[1], scope) == ():
        name = node.arguments[0]  # as in `'total' in record`
        if isinstance(name, Constant) and isinstance(name.value, str):
            yield (name.value,)
    for part in children(node):
        yield from places_in(part, scope)


def merged(one: Assignment, other: Assignment) -> Assignment | None:
    """Return both assignments together; None if they give a place different values."""
    for place in one.keys() & other.keys():
        if not _is_same(one[place], other[place]):
            return None
    return one | other


def _is_same(one: Any, other: Any) -> bool:
    if one is ABSENT or other is ABSENT:
        return one is other
    return bool(fingerprint(one) == fingerprint(other))


def record_of(assignment: Assignment) -> tuple[dict[str, Any], RuleMeta] | None:
    """Return a record with these values, and its metadata; None if no record can have all of them."""
    record: dict[str, Any] = {}
    meta: dict[str, Any] = {}
    for place in sorted(assignment, key=len):
        value = assignment[place]
        if value is ABSENT or not place:
            continue
        in_meta = place[0] is IN_META
        if not _put(meta if in_meta else record, place[1:] if in_meta else place, deepcopy(value)):
            return None
    known = _meta(meta)
    return None if known is None else (record, known)


def _meta(values: dict[str, Any]) -> RuleMeta | None:
    """Return metadata with these values; None if that of no message has them."""
    key, headers = values.get("key"), values.get("headers") or {}
    timestamp, entered = values.get("timestamp"), values.get("entered")
    if not all(type(text) in (str, type(None)) for text in (key, *headers.values())):
        return None
    if not all(type(time) in (int, float, type(None)) for time in (timestamp, entered)):
        return None
    return (
        None if key is None else key.encode(),
        tuple((name, None if text is None else text.encode()) for name, text in headers.items()) or None,
        NO_TIMESTAMP if timestamp is None else int(timestamp * 1_000),
        None if entered is None else float(entered),
    )


def _put(root: dict[str, Any], place: Path, value: Any) -> bool:
    """Give a record a value at a place; return whether that is possible."""
    at: Any = root
    for step, following in pairwise(place):
        at = _below(at, step, {} if type(following) is str else [])
        if at is None:
            return False
    if not place:
        return False
    if type(at) is dict and type(place[-1]) is str:
        at[place[-1]] = value
        return True
    index: Any = 0 if place[-1] is ANY else place[-1]
    if type(at) is not list or type(index) is not int or not 0 <= index <= MAX_INDEX:
        return False
    at += [None] * (index + 1 - len(at))
    at[index] = value
    return True


def _below(at: Any, step: Any, empty: Any) -> Any:
    """Return the object or list below a step, which is made if there is none; None if there is another value."""
    if type(at) is dict and type(step) is str:
        found = at.setdefault(step, empty)
    elif type(at) is list and (step is ANY or (type(step) is int and 0 <= step <= MAX_INDEX)):
        index: Any = 0 if step is ANY else step
        at += [None] * (index + 1 - len(at))
        at[index] = empty if at[index] is None else at[index]
        found = at[index]
    else:
        return None
    return found if type(found) is type(empty) else None
