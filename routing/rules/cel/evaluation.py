"""Evaluates conditions: a syntax tree becomes a tree of functions, which is called for each record.

CEL's own runtime parses conditions here, but does not evaluate them. It has no numbers as JSON has them and no fields
that read as null when they are absent; `map` and `filter` take quadratic time in it; and it is handed a record at the
price of ten decisions. docs/rules.md says where that leaves CEL's letter, and tests hold the rest against the runtime.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from metroline.routing.rules.cel.functions import FUNCTIONS, MAX_PATTERN, OPERATORS, Function, sign_of
from metroline.routing.rules.cel.patterns import price_of
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
    walk,
)
from metroline.routing.rules.cel.types_in_place import types_in
from metroline.routing.rules.cel.values import (
    KINDS,
    SCALARS,
    Budget,
    Duration,
    NullMet,
    Time,
    TypeName,
    Undecided,
    Wrong,
    contains,
    equal,
    exact,
    kind_of,
)

TEXT_PER_OPERATION = 32
"""Number of characters that count as one operation where a function looks through a text."""

SEARCH_PER_OPERATION = 64
"""Number of characters of a text, times those of a regular expression, that count as one operation of a search."""

OPERATIONS_OF_RUNTIME = 100
"""Price of a call that reads or writes a time or a duration, most of which CEL's runtime does."""

LONG = 1_024
"""Number of characters that count as one operation where texts are compared, which is far faster than a search."""

RECORD, META = "record", "meta"
"""The variables that are no fields: the whole record, and the metadata of its source message."""


@dataclass(slots=True)
class Frame:
    """The values that are known while a condition is evaluated for a record."""

    record: Mapping[str, Any]
    meta: Mapping[str, Any]
    budget: Budget
    variables: list[Any]
    """The elements at which comprehensions look, from the outside in; as many as the condition nests."""


TIMES = frozenset({Time, Duration})

Part = Callable[[Frame], Any]
"""A part of a condition, which returns its value or raises `Undecided`."""


@dataclass(frozen=True, slots=True)
class Program:
    """A condition that can be evaluated."""

    part: Part
    depth: int
    """The number of comprehensions that it nests."""

    @classmethod
    def of(cls, root: Node) -> Program:
        compiler = _Compiler(types_in(root))
        return cls(compiler.part(root, ()), compiler.depth)

    def evaluate(self, record: Mapping[str, Any], meta: Mapping[str, Any], budget: Budget) -> Any:
        """Return the value for a record; raise `Undecided` or `OverBudget`."""
        return self.part(Frame(record, meta, budget, [None] * self.depth))


class _Compiler:
    """Makes functions of nodes. `names` are those of the comprehensions around a node, from the outside in."""

    def __init__(self, types: frozenset[int]) -> None:
        self._types = types
        self.depth = 0
        """The number of comprehensions that were nested so far."""

    def part(self, node: Node, names: tuple[str, ...]) -> Part:
        if isinstance(node, Constant):
            return _constant(node.value)
        if isinstance(node, Name):
            return self._name(node, names)
        if isinstance(node, Field):
            operand = self.part(node.operand, names)
            return _has(operand, node.name) if node.is_test else _field(operand, node.name)
        if isinstance(node, Call):
            return self._call(node, names)
        if isinstance(node, ListOf):
            return _list(self._parts(node.elements, names))
        if isinstance(node, ObjectOf):
            return _object(self._parts(node.entries, names))
        assert isinstance(node, Comprehension)
        return self._comprehension(node, names)

    def _parts(self, nodes: tuple[Node, ...], names: tuple[str, ...]) -> list[Part]:
        return [self.part(node, names) for node in nodes]

    def _name(self, node: Name, names: tuple[str, ...]) -> Part:
        name = node.name
        if name in names:
            return _variable(len(names) - 1 - names[::-1].index(name))
        if id(node) in self._types:
            return _constant(TypeName(name))
        if name == RECORD:
            return lambda frame: frame.record
        if name == META:
            return lambda frame: frame.meta
        return lambda frame: frame.record.get(name)

    def _call(self, node: Call, names: tuple[str, ...]) -> Part:
        arguments = self._parts(node.arguments, names)
        special = SPECIAL.get(node.function)
        if node.function == "@in" and isinstance(node.arguments[1], ListOf):
            known = [element.value for element in node.arguments[1].elements if isinstance(element, Constant)]
            if len(known) == len(node.arguments[1].elements):
                return _in_constants(arguments[0], known)
        if special is not None:
            return special(*arguments)
        if node.function in OPERATORS:
            return _called(OPERATORS[node.function], f"`{sign_of(node.function)}`", arguments)
        return _called(FUNCTIONS[node.function], f"{node.function}()", arguments)

    def _comprehension(self, node: Comprehension, names: tuple[str, ...]) -> Part:
        over = self.part(node.range, names)
        inner = (*names, node.variable)
        self.depth = max(self.depth, len(inner))
        predicate = None if node.predicate is None else self.part(node.predicate, inner)
        transform = None if node.transform is None else self.part(node.transform, inner)
        cost = sum(1 for part in (node.predicate, node.transform) if part is not None for _ in walk(part))
        elements = _elements(over, node.macro, cost)
        place = len(names)
        if node.macro is Macro.MAP:
            assert transform is not None
            return _mapped(elements, predicate, transform, place)
        assert predicate is not None
        if node.macro in (Macro.ALL, Macro.EXISTS):
            return _any_decides(elements, predicate, place, node.macro)
        chosen = _chosen(elements, predicate, place, node.macro)
        return chosen if node.macro is Macro.FILTER else lambda frame: len(chosen(frame)) == 1


def _constant(value: Any) -> Part:
    return lambda frame: value


def _variable(place: int) -> Part:
    return lambda frame: frame.variables[place]


def _field(operand: Part, name: str) -> Part:
    def read(frame: Frame) -> Any:
        value = operand(frame)
        if type(value) is dict:
            return value.get(name)
        if value is None:
            return None
        raise Wrong(f"{kind_of(value)} has no field {name!r}")

    return read


def _has(operand: Part, name: str) -> Part:
    def ask(frame: Frame) -> bool:
        value = operand(frame)
        if type(value) is dict or value is None:
            return value is not None and name in value
        raise Wrong(f"{kind_of(value)} has no field {name!r}")

    return ask


def _element(operand: Part, index: Part) -> Part:
    def read(frame: Frame) -> Any:
        value, place = operand(frame), index(frame)
        if value is None or place is None:
            return None
        if type(value) is dict and type(place) is str:
            return value.get(place)
        if type(value) is list and type(place) in (int, float):
            if place < 0 or place != int(place):
                raise Wrong(f"a list has no element {exact(place)}")
            return value[int(place)] if place < len(value) else None
        named = repr(place[:40]) if type(place) is str else f"that {kind_of(place)} could name"
        raise Wrong(f"{kind_of(value)} has no element {named}")

    return read


def _list(parts: list[Part]) -> Part:
    return lambda frame: [part(frame) for part in parts]


def _object(parts: list[Part]) -> Part:
    def build(frame: Frame) -> dict[str, Any]:
        built = {}
        for key, value in zip(parts[::2], parts[1::2], strict=True):
            name = key(frame)
            if type(name) is not str:
                raise Wrong(f"the name of a field is text, not {kind_of(name)}")
            if name in built:
                raise Wrong(f"the field {name[:40]!r} is written twice")
            built[name] = value(frame)
        return built

    return build


def _called(function: Function, name: str, arguments: list[Part]) -> Part:
    by_types = function.by_types
    reads_times = function in (FUNCTIONS["timestamp"], FUNCTIONS["duration"])
    is_function = name.endswith("()")
    if len(arguments) == 1:
        (argument,) = arguments
        by_type = {types[0]: call for types, call in by_types.items() if len(types) == 1}

        def call_one(frame: Frame) -> Any:
            value = argument(frame)
            kind = type(value)
            call = by_type.get(kind)
            if call is None:
                raise _refused(name, [value])
            if kind is str or kind is bytes:
                frame.budget.spend(len(value) // TEXT_PER_OPERATION + reads_times * OPERATIONS_OF_RUNTIME)
            elif is_function and kind in TIMES:
                frame.budget.spend(OPERATIONS_OF_RUNTIME)
            return call(value)

        return call_one
    if len(arguments) == 2:
        first, second = arguments
        searches = function is FUNCTIONS["matches"]

        def call_two(frame: Frame) -> Any:
            one, other = first(frame), second(frame)
            kind = type(one)
            call = by_types.get((kind, type(other)))
            if call is None:
                raise _refused(name, [one, other])
            if searches:
                short = other if len(other) <= MAX_PATTERN else ""  # a longer one is refused
                frame.budget.spend(price_of(short) + len(one) * len(other) // SEARCH_PER_OPERATION)
            elif kind is str or kind is list or kind is bytes:
                frame.budget.spend((len(one) + len(other)) // (1 if kind is list else TEXT_PER_OPERATION))
            elif is_function and kind in TIMES:
                frame.budget.spend(OPERATIONS_OF_RUNTIME)
            return call(one, other)

        return call_two
    raise AssertionError(f"{name} takes one argument or two")


def _refused(name: str, values: list[Any]) -> Undecided:
    if any(value is None for value in values):
        return NullMet()
    return Wrong(f"{name} cannot take {' and '.join(kind_of(value) for value in values)}")


def _truth(value: Any, where: str) -> Undecided:
    return NullMet() if value is None else Wrong(f"{where} needs true or false, not {kind_of(value)}")


def _and(left: Part, right: Part) -> Part:
    return _either(left, right, decisive=False, sign="`&&`")


def _or(left: Part, right: Part) -> Part:
    return _either(left, right, decisive=True, sign="`||`")


def _either(left: Part, right: Part, *, decisive: bool, sign: str) -> Part:
    """Return `left && right`, or `left || right`: if one of them decides, it does not matter that the other fails."""
    indecisive = not decisive

    def decide(frame: Frame) -> Any:
        failed: Undecided | None = None
        try:
            value = left(frame)
            if value is decisive:
                return decisive
            if value is not indecisive:
                failed = _truth(value, sign)
        except Undecided as error:
            failed = error
        try:
            value = right(frame)
        except Undecided as error:
            raise _graver(failed, error) from None
        if value is decisive:
            return decisive
        if value is not indecisive:
            raise _graver(failed, _truth(value, sign))
        if failed is not None:
            raise failed
        return indecisive

    return decide


def _graver(one: Undecided | None, other: Undecided) -> Undecided:
    """Return the failure to tell of two: a wrong value rather than a null."""
    return one if one is not None and (isinstance(one, Wrong) or not isinstance(other, Wrong)) else other


def _choice(condition: Part, then: Part, otherwise: Part) -> Part:
    def choose(frame: Frame) -> Any:
        value = condition(frame)
        if value is True:
            return then(frame)
        if value is False:
            return otherwise(frame)
        raise _truth(value, "`? :`")

    return choose


def _equal(left: Part, right: Part) -> Part:
    def compare(frame: Frame) -> bool:
        one, other = left(frame), right(frame)
        kind = type(one)
        if kind is type(other) and kind in SCALARS:
            if kind is str and len(one) > LONG and len(one) == len(other):
                frame.budget.spend(len(one) // LONG)
            return bool(one == other)
        return equal(one, other, frame.budget)

    return compare


def _unequal(left: Part, right: Part) -> Part:
    same = _equal(left, right)
    return lambda frame: not same(frame)


def _in(left: Part, right: Part) -> Part:
    def look(frame: Frame) -> bool:
        wanted = left(frame)
        return contains(right(frame), wanted, frame.budget)

    return look


def _in_constants(left: Part, known: list[Any]) -> Part:
    """Return `left in [...]` for values that are written out, which is one look-up however many they are."""
    truths = {value for value in known if type(value) is bool}
    others = {value for value in known if type(value) is not bool}

    def look(frame: Frame) -> bool:
        wanted = left(frame)
        kind = type(wanted)
        return wanted in truths if kind is bool else kind in SCALARS and wanted in others

    return look


SPECIAL: dict[str, Callable[..., Part]] = {
    "_&&_": _and,
    "_||_": _or,
    "_?_:_": _choice,
    "_==_": _equal,
    "_!=_": _unequal,
    "@in": _in,
    "_[_]": _element,
}
"""The operators that take values of any kind, or do not need all of them."""


Elements = Callable[[Frame], list[Any]]
"""Returns the elements at which a comprehension looks."""


def _elements(over: Part, macro: Macro, cost: int) -> Elements:
    """Return a function that returns the elements that a comprehension looks at, once their cost is paid."""

    def elements(frame: Frame) -> list[Any]:
        found = over(frame)
        if type(found) is list:
            frame.budget.spend(len(found) * (cost + 1))
            return found
        if found is None:
            raise NullMet
        why = ", whose fields have no order" if type(found) is dict else ""
        raise Wrong(f"{macro}() goes over a list, not over {KINDS[type(found)]}{why}")

    return elements


def _any_decides(elements: Elements, predicate: Part, place: int, macro: Macro) -> Part:
    """Return `all` or `exists`: if one element decides, it does not matter that others fail."""
    decisive = macro is Macro.EXISTS
    indecisive = not decisive

    def decide(frame: Frame) -> Any:
        failed: Undecided | None = None
        for element in elements(frame):
            frame.variables[place] = element
            try:
                value = predicate(frame)
            except Undecided as error:
                failed = _graver(failed, error)
                continue
            if value is decisive:
                return decisive
            if value is not indecisive:
                failed = _graver(failed, _truth(value, f"{macro}()"))
        if failed is not None:
            raise failed
        return indecisive

    return decide


def _chosen(elements: Elements, predicate: Part, place: int, macro: Macro) -> Callable[[Frame], list[Any]]:
    """Return a function that returns the elements for which a predicate holds, or raises the first failure."""

    def choose(frame: Frame) -> list[Any]:
        chosen = []
        for element in elements(frame):
            frame.variables[place] = element
            answer = predicate(frame)
            if answer is True:
                chosen.append(element)
            elif answer is not False:
                raise _truth(answer, f"{macro}()")
        return chosen

    return choose


def _mapped(elements: Elements, predicate: Part | None, transform: Part, place: int) -> Part:
    def collect(frame: Frame) -> list[Any]:
        mapped = []
        for element in elements(frame):
            frame.variables[place] = element
            if predicate is not None:
                answer = predicate(frame)
                if answer is False:
                    continue
                if answer is not True:
                    raise _truth(answer, "map()")
            mapped.append(transform(frame))
        return mapped

    return collect
