"""The syntax tree of a condition, as CEL's own parser makes it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from metroline.routing.errors import ConditionError
from metroline.routing.rules.cel import wire
from metroline.routing.rules.cel.runtime import parsed
from metroline.routing.rules.cel.wire import Fields


class Macro(StrEnum):
    """The comprehensions of CEL, by their names in a condition."""

    ALL = "all"
    EXISTS = "exists"
    EXISTS_ONE = "exists_one"
    MAP = "map"
    FILTER = "filter"


@dataclass(frozen=True, slots=True)
class Node:
    """A part of a condition. Its first character, in code points from 0 on, is what the parser calls its position."""

    offset: int


@dataclass(frozen=True, slots=True)
class Constant(Node):
    """null, true or false, a number, text, or bytes."""

    value: Any


@dataclass(frozen=True, slots=True)
class Name(Node):
    """A variable: a field of the record, `record`, `meta`, the variable of a comprehension, or a type."""

    name: str


@dataclass(frozen=True, slots=True)
class Field(Node):
    """`operand.name`, or `has(operand.name)`."""

    operand: Node
    name: str
    is_test: bool


@dataclass(frozen=True, slots=True)
class Call(Node):
    """A call of a function or an operator. The target of a method is its first argument."""

    function: str
    arguments: tuple[Node, ...]
    is_method: bool


@dataclass(frozen=True, slots=True)
class ListOf(Node):
    elements: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class ObjectOf(Node):
    """An object that is written out: keys and values in turn."""

    entries: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class Comprehension(Node):
    """`range.macro(variable, predicate, transform)`, without those of the last two that the macro does not have."""

    macro: Macro
    range: Node
    variable: str
    predicate: Node | None
    transform: Node | None


def children(node: Node) -> tuple[Node, ...]:
    """Return the parts of a node, in the order of the text."""
    if isinstance(node, Field):
        return (node.operand,)
    if isinstance(node, Call):
        return node.arguments
    if isinstance(node, ListOf):
        return node.elements
    if isinstance(node, ObjectOf):
        return node.entries
    if isinstance(node, Comprehension):
        return tuple(part for part in (node.range, node.predicate, node.transform) if part is not None)
    return ()


def walk(node: Node) -> Iterator[Node]:
    """Yield a node and all parts of it."""
    yield node
    for part in children(node):
        yield from walk(part)


def parse(text: str) -> Node:
    """Return the syntax tree of a condition; raise `ValueError` with the parser's complaint if it is not valid CEL."""
    (expression,) = wire.messages(wire.read_fields(parsed(text)), 2)
    (source,) = wire.messages(expression, 3) or [{}]
    positions = {wire.signed(entry, 1): wire.signed(entry, 2) for entry in wire.messages(source, 4)}
    (root,) = wire.messages(expression, 2)
    return _Builder(positions).node(root)


class _Builder:
    """Makes nodes of the messages of a parsed expression (cel/expr/syntax.proto of https://github.com/google/cel-spec)."""

    def __init__(self, positions: dict[int, int]) -> None:
        self._positions = positions

    def node(self, expression: Fields) -> Node:
        """Return the node of an expression, which nests 32 levels at most: the parser follows no more."""
        offset = self._positions.get(wire.signed(expression, 2), 0)
        for kind, make in _KINDS.items():
            if kind in expression:
                return make(self, offset, wire.messages(expression, kind)[0])
        return Constant(offset, None)

    def nodes(self, fields: Fields, field: int) -> tuple[Node, ...]:
        return tuple(map(self.node, wire.messages(fields, field)))

    def constant(self, offset: int, fields: Fields) -> Node:
        readers = {2: wire.number, 3: wire.signed, 4: wire.number, 5: wire.double, 6: wire.text, 7: wire.data}
        for kind, read in readers.items():
            if kind in fields:
                value: Any = read(fields, kind)
                return Constant(offset, bool(value) if kind == 2 else value)
        return Constant(offset, None)

    def name(self, offset: int, fields: Fields) -> Node:
        return Name(offset, wire.text(fields, 1).removeprefix("."))

    def field(self, offset: int, fields: Fields) -> Node:
        (operand,) = self.nodes(fields, 1)
        return Field(offset, operand, wire.text(fields, 2), bool(wire.number(fields, 3)))

    def call(self, offset: int, fields: Fields) -> Node:
        target = self.nodes(fields, 1)
        return Call(offset, wire.text(fields, 2), target + self.nodes(fields, 3), bool(target))

    def list_of(self, offset: int, fields: Fields) -> Node:
        return ListOf(offset, self.nodes(fields, 1))

    def object_of(self, offset: int, fields: Fields) -> Node:
        if name := wire.text(fields, 1):
            raise ConditionError(f"there is no type {name} whose objects could be written")
        entries = wire.messages(fields, 2)
        return ObjectOf(offset, tuple(node for entry in entries for part in (3, 4) for node in self.nodes(entry, part)))

    def comprehension(self, offset: int, fields: Fields) -> Node:
        """Recognize the macro by what the parser made of it: how it begins, and what it does with each element."""
        variable = wire.text(fields, 1)
        (over,), (start,), (step,) = (self.nodes(fields, field) for field in (2, 4, 6))
        if not isinstance(step, Call):
            raise ConditionError("the comprehension is of no kind that is known")
        if isinstance(start, Constant) and isinstance(start.value, bool):
            macro = Macro.ALL if start.value else Macro.EXISTS
            return Comprehension(offset, macro, over, variable, step.arguments[1], None)
        if isinstance(start, Constant):
            return Comprehension(offset, Macro.EXISTS_ONE, over, variable, step.arguments[0], None)
        predicate = None
        if step.function == "_?_:_":
            predicate, added, _ = step.arguments
            if not isinstance(added, Call):
                raise ConditionError("the comprehension is of no kind that is known")
            step = added
        collected = step.arguments[1]
        (element,) = collected.elements if isinstance(collected, ListOf) else (collected,)
        if predicate is not None and isinstance(element, Name) and element.name == variable:
            return Comprehension(offset, Macro.FILTER, over, variable, predicate, None)
        return Comprehension(offset, Macro.MAP, over, variable, predicate, element)


_KINDS = {
    3: _Builder.constant,
    4: _Builder.name,
    5: _Builder.field,
    6: _Builder.call,
    7: _Builder.list_of,
    8: _Builder.object_of,
    9: _Builder.comprehension,
}
"""The ways to make a node, by the number of the field that an expression has."""
