"""Refuses conditions that can never work, by the kinds of values that their parts can have."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from metroline.routing.errors import ConditionError
from metroline.routing.rules.cel.evaluation import META, RECORD
from metroline.routing.rules.cel.functions import ANY, FUNCTIONS, OPERATORS, TEXT_READERS, TYPES, matches, sign_of
from metroline.routing.rules.cel.syntax_tree import (
    Call,
    Comprehension,
    Constant,
    Field,
    ListOf,
    Macro,
    Name,
    Node,
    ObjectOf,
)
from metroline.routing.rules.cel.times import check_zone, parse_duration, parse_time
from metroline.routing.rules.cel.types_in_place import types_in
from metroline.routing.rules.cel.values import Kind, Wrong, kind_of
from metroline.routing.spelling import suggestion

Kinds = frozenset[Kind]

BOOL = frozenset({Kind.BOOL})
TYPE = frozenset({Kind.TYPE})
CONTAINERS = frozenset({Kind.LIST, Kind.OBJECT})
MACROS = frozenset(map(str, Macro))

LITERALS: dict[str, tuple[int, Callable[[str], Any]]] = {
    "matches": (1, lambda text: matches("", text)),
    "timestamp": (0, parse_time),
    "duration": (0, parse_duration),
    **{name: (0, read) for name, read in TEXT_READERS.items()},
}
"""Functions whose text is looked at where it is written out: the number of the argument, and what reads it."""


META_KINDS = {
    "key": frozenset({Kind.TEXT, Kind.NULL}),
    "headers": frozenset({Kind.OBJECT}),
    "timestamp": frozenset({Kind.NUMBER, Kind.NULL}),
    "entered": frozenset({Kind.NUMBER}),
}
HEADER = frozenset({Kind.TEXT, Kind.NULL})

SIMILAR_FUNCTION = 0.75
"""Similarity from which on a function is suggested; below it, most suggestions do something else."""

INSTEAD = {
    **dict.fromkeys(("now", "today", "utcnow"), ": write timestamp(meta.entered) for the present time"),
    **dict.fromkeys(("len", "length", "count"), "; did you mean 'size'?"),
}
"""Advice on functions of other languages."""

WRITTEN_OTHERWISE = {"True": "true", "TRUE": "true", "False": "false", "FALSE": "false"} | dict.fromkeys(
    ("None", "Null", "NULL"), "null"
)
"""Constants as other languages write them; here they would be fields, which are always absent."""

COMPARISONS = frozenset({"_<_", "_<=_", "_>_", "_>=_"})


class Impossible(ConditionError):
    """Raised for a part of a condition that can never work; `offset` is its place, in characters from 0 on."""

    def __init__(self, reason: str, offset: int) -> None:
        super().__init__(reason)
        self.reason = reason
        self.offset = offset


def check(root: Node) -> None:
    """Raise `Impossible` if a condition can be true for no record, or fails for every one."""
    kinds = _Checker(types_in(root)).kinds(root, frozenset())
    if Kind.BOOL not in kinds:
        raise Impossible(f"this is {_named(kinds)}, and a condition must be true or false", root.offset)


class _Checker:
    """Finds the kinds that a node's value can have. `bound` are the variables of the comprehensions around it."""

    def __init__(self, types: frozenset[int]) -> None:
        self._types = types

    def kinds(self, node: Node, bound: frozenset[str]) -> Kinds:
        if isinstance(node, Constant):
            if type(node.value) is float and not math.isfinite(node.value):
                raise Impossible("the number is too large", node.offset)
            return frozenset({kind_of(node.value)})
        if isinstance(node, Name):
            return self._of_name(node, bound)
        if isinstance(node, Field):
            return self._of_field(node, bound)
        if isinstance(node, Call):
            return self._of_call(node, bound)
        if isinstance(node, ListOf):
            for element in node.elements:
                self.kinds(element, bound)
            return frozenset({Kind.LIST})
        if isinstance(node, ObjectOf):
            for key in node.entries[::2]:
                self._need(self.kinds(key, bound), frozenset({Kind.TEXT}), "the name of a field must be text", key)
            for value in node.entries[1::2]:
                self.kinds(value, bound)
            return frozenset({Kind.OBJECT})
        assert isinstance(node, Comprehension)
        return self._of_comprehension(node, bound)

    def _of_name(self, node: Name, bound: frozenset[str]) -> Kinds:
        if node.name in bound:
            return ANY
        if node.name in (RECORD, META):
            return frozenset({Kind.OBJECT})
        if meant := WRITTEN_OTHERWISE.get(node.name):
            raise Impossible(
                f'write {meant} for {node.name}; a field of that name is record["{node.name}"]', node.offset
            )
        return frozenset({Kind.TYPE}) if id(node) in self._types else ANY

    def _of_field(self, node: Field, bound: frozenset[str]) -> Kinds:
        operand = self.kinds(node.operand, bound)
        self._need(operand, frozenset({Kind.OBJECT}), f"{_named(operand)} has no field {node.name!r}", node)
        if node.is_test:
            return BOOL
        if _is_headers(node.operand, bound):
            return HEADER
        return META_KINDS.get(node.name, ANY) if _is_meta(node.operand, bound) else ANY

    def _of_comprehension(self, node: Comprehension, bound: frozenset[str]) -> Kinds:
        over = self.kinds(node.range, bound)
        self._need(over, frozenset({Kind.LIST}), f"{node.macro}() goes over a list, not over {_named(over)}", node)
        inner = bound | {node.variable}
        if node.predicate is not None:
            kinds = self.kinds(node.predicate, inner)
            self._need(kinds, BOOL, f"{node.macro}() needs true or false, not {_named(kinds)}", node.predicate)
        if node.transform is not None:
            self.kinds(node.transform, inner)
        return frozenset({Kind.LIST}) if node.macro in (Macro.MAP, Macro.FILTER) else BOOL

    def _of_call(self, node: Call, bound: frozenset[str]) -> Kinds:
        name = node.function
        if name not in FUNCTIONS and name not in OPERATORS and name not in SPECIAL:
            raise Impossible(_unknown(name), _start(node))
        kinds = tuple(self.kinds(argument, bound) for argument in node.arguments)
        if name in SPECIAL:
            if _is_header(node, bound):
                self._need(kinds[1], HEADER, f"a header is named by text, not by {_named(kinds[1])}", node)
                return HEADER
            return SPECIAL[name](self, node, kinds)
        if name in OPERATORS:
            if found := OPERATORS[name].result_of(kinds):
                return found
            told = " and ".join(map(_named, kinds))
            raise Impossible(f"`{sign_of(name)}` cannot take {told}{_advice_on_chain(node)}", node.offset)
        return self._of_function(node, kinds)

    def _of_function(self, node: Call, kinds: tuple[Kinds, ...]) -> Kinds:
        name, function = node.function, FUNCTIONS[node.function]
        if function.is_method is not None and function.is_method is not node.is_method:
            how = f"a value: write x.{name}(…)" if function.is_method else f"no value: write {name}(x)"
            raise Impossible(f"{name}() is called on {how}", _start(node))
        counts = sorted({len(overload.kinds) for overload in function.overloads})
        if len(kinds) not in counts:
            before = 1 if node.is_method else 0
            wanted = " or ".join(str(count - before) for count in counts)
            arguments = "argument" if wanted == "1" else "arguments"
            raise Impossible(f"{name}() takes {wanted} {arguments}, not {len(kinds) - before}", _start(node))
        found = function.result_of(kinds)
        if not found:
            raise Impossible(f"{name}() cannot take {' and '.join(map(_named, kinds))}", _start(node))
        self._check_literals(node)
        return found

    def _check_literals(self, node: Call) -> None:
        """Read the texts that a function gets as constants: a pattern, a time, a duration, or a time zone."""
        place, read = LITERALS.get(node.function, (1, check_zone))
        argument = node.arguments[place] if place < len(node.arguments) else None
        if not isinstance(argument, Constant) or type(argument.value) is not str:
            return
        if node.function in LITERALS or node.function.startswith("get"):
            try:
                read(argument.value)
            except Wrong as error:
                raise Impossible(str(error), argument.offset) from None

    def _logic(self, node: Call, kinds: tuple[Kinds, ...]) -> Kinds:
        for argument, found in zip(node.arguments, kinds, strict=True):
            self._need(found, BOOL, f"`{sign_of(node.function)}` needs true or false, not {_named(found)}", argument)
        return BOOL

    def _choice(self, node: Call, kinds: tuple[Kinds, ...]) -> Kinds:
        condition, *results = kinds
        self._need(condition, BOOL, f"`? :` needs true or false, not {_named(condition)}", node.arguments[0])
        return results[0] | results[1]

    def _equality(self, node: Call, kinds: tuple[Kinds, ...]) -> Kinds:
        one, other = kinds
        for side, kinds_of_other in zip(node.arguments, (other, one), strict=True):
            if isinstance(side, Name) and kinds_of_other == TYPE and id(side) not in self._types:
                raise Impossible(f"there is no type {side.name}{suggestion(side.name, TYPES)}", side.offset)
        if one.isdisjoint(other):
            dashed = "".join(map(_advice_on_dash, node.arguments))
            raise Impossible(f"{_named(one)} never equals {_named(other)}{dashed}", node.offset)
        return BOOL

    def _membership(self, node: Call, kinds: tuple[Kinds, ...]) -> Kinds:
        what = f"`in` needs a list or an object, not {_named(kinds[1])}"
        self._need(kinds[1], CONTAINERS, what, node.arguments[1])
        return BOOL

    def _element(self, node: Call, kinds: tuple[Kinds, ...]) -> Kinds:
        operand, index = kinds
        self._need(operand, CONTAINERS, f"{_named(operand)} has no elements", node)
        keys = frozenset({Kind.TEXT, Kind.NUMBER})
        self._need(index, keys, f"an element is named by text or counted by a number, not {_named(index)}", node)
        return ANY

    @staticmethod
    def _need(found: Kinds, wanted: Kinds, problem: str, node: Node) -> None:
        if found.isdisjoint(wanted):
            raise Impossible(problem, node.offset)


SPECIAL = {
    "_&&_": _Checker._logic,
    "_||_": _Checker._logic,
    "_?_:_": _Checker._choice,
    "_==_": _Checker._equality,
    "_!=_": _Checker._equality,
    "@in": _Checker._membership,
    "_[_]": _Checker._element,
}


def _is_meta(node: Node, bound: frozenset[str]) -> bool:
    return isinstance(node, Name) and node.name == META and META not in bound


def _is_headers(node: Node, bound: frozenset[str]) -> bool:
    return isinstance(node, Field) and node.name == "headers" and _is_meta(node.operand, bound)


def _is_header(node: Call, bound: frozenset[str]) -> bool:
    return node.function == "_[_]" and _is_headers(node.arguments[0], bound)


def _advice_on_chain(node: Call) -> str:
    """Return advice on `1 < x < 5`, which compares the answer of the first comparison with the last value."""
    first = node.arguments[0]
    is_chain = node.function in COMPARISONS and isinstance(first, Call) and first.function in COMPARISONS
    return ": write a < x && x < b" if is_chain else ""


def _advice_on_dash(side: Node) -> str:
    """Return advice on `first-name`, which is `first` minus `name`."""
    if not isinstance(side, Call) or side.function != "_-_":
        return ""
    one, other = side.arguments
    if not isinstance(one, Name | Field) or not isinstance(other, Name):
        return ""
    of = "record" if isinstance(one, Name) else "x"
    return f'; a field of the name {one.name}-{other.name} is {of}["{one.name}-{other.name}"]'


def _start(call: Call) -> int:
    """Return where the name of a function begins: the parser says where its bracket is."""
    return max(0, call.offset - len(call.function)) if call.function.isidentifier() else call.offset


def _named(kinds: Kinds) -> str:
    return " or ".join(sorted(kinds)) if len(kinds) < len(ANY) else "a value"


def _unknown(name: str) -> str:
    if name == "has":
        return "has() takes one field: write has(record.NAME)"
    if name in MACROS:
        wanted = "a value" if name == Macro.MAP else "a condition"
        return f"{name}() takes the name of an element and {wanted}: write list.{name}(x, …)"
    hint = suggestion(name, (*FUNCTIONS, *MACROS), SIMILAR_FUNCTION) or INSTEAD.get(name, "")
    return f"there is no function {name}{hint}; docs/rules.md lists all functions"
