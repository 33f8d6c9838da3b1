"""The functions and operators of CEL that conditions may use, for each kind of arguments."""

from __future__ import annotations

import math
import operator
import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from itertools import product
from typing import Any

from metroline.routing.rules.cel.patterns import price_of
from metroline.routing.rules.cel.runtime import evaluator
from metroline.routing.rules.cel.times import (
    DURATION_PARTS,
    TIME_PARTS,
    between,
    parse_duration,
    parse_time,
    seconds_of_time,
    shifted,
    sum_of,
    time_of_seconds,
    written_duration,
    written_time,
)
from metroline.routing.rules.cel.values import (
    KINDS,
    Kind,
    TypeName,
    Wrong,
    add,
    divide,
    exact,
    in_range,
    multiply,
    negate,
    remainder,
    subtract,
    whole,
)

ANY = frozenset(Kind)
"""The kinds of which a field may be."""

TYPE_NAMES = {
    Kind.NULL: "null_type",
    Kind.BOOL: "bool",
    Kind.TEXT: "string",
    Kind.BYTES: "bytes",
    Kind.LIST: "list",
    Kind.OBJECT: "map",
    Kind.TIME: "google.protobuf.Timestamp",
    Kind.DURATION: "google.protobuf.Duration",
    Kind.TYPE: "type",
}
"""The types of CEL by kind. A number is an `int` if it has no fraction, and a `double` otherwise."""

TYPES = frozenset({"int", "uint", "double", "bool", "string", "bytes", "list", "map", "null_type", "type"})
"""The names of types that a condition may compare with what `type` returns."""

PYTHON_TYPES: dict[Kind, tuple[type, ...]] = {
    kind: tuple(python for python, other in KINDS.items() if other is kind) for kind in Kind
}

TRUE, FALSE = frozenset({"1", "t", "true", "TRUE", "True"}), frozenset({"0", "f", "false", "FALSE", "False"})
INTEGER = re.compile(r"[+-]?\d{1,20}", re.ASCII)
DECIMAL = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", re.ASCII)
MAX_PATTERN = 1_000
"""Maximum length of a regular expression: a search takes time that grows with it and with the text."""
MAX_PRICE = 250_000
"""Maximum price of a regular expression, in operations: half of what deciding about a record may take."""
MAX_DIGITS = 400
"""Maximum length of a text that is read as a number."""


@dataclass(frozen=True, slots=True)
class Overload:
    """A function or operator for arguments of these kinds."""

    kinds: tuple[Kind, ...]
    result: Kind
    call: Callable[..., Any]


@dataclass(frozen=True)
class Function:
    """A function or operator, with the kinds of arguments that it takes."""

    overloads: tuple[Overload, ...]
    is_method: bool | None = None
    """True if it is called on its first argument, False if it is not, None if it is called either way."""

    @cached_property
    def by_types(self) -> dict[tuple[type, ...], Callable[..., Any]]:
        """The functions to call for arguments of these types in Python."""
        return {
            types: overload.call
            for overload in self.overloads
            for types in product(*(PYTHON_TYPES[kind] for kind in overload.kinds))
        }

    def result_of(self, kinds: tuple[frozenset[Kind], ...]) -> frozenset[Kind]:
        """Return the kinds of the results for arguments that may be of these kinds; none if it takes no such ones."""
        return frozenset(
            overload.result
            for overload in self.overloads
            if len(overload.kinds) == len(kinds) and all(map(operator.contains, kinds, overload.kinds))
        )


NULL, BOOL, NUMBER, TEXT, BYTES = Kind.NULL, Kind.BOOL, Kind.NUMBER, Kind.TEXT, Kind.BYTES
LIST, OBJECT, TIME, DURATION = Kind.LIST, Kind.OBJECT, Kind.TIME, Kind.DURATION


def _of(call: Callable[..., Any], result: Kind, *kinds: Kind) -> Overload:
    return Overload(kinds, result, call)


def _compared(call: Callable[[Any, Any], bool]) -> Function:
    ordered = (NUMBER, TEXT, BOOL, BYTES, TIME, DURATION)
    return Function(tuple(_of(call, BOOL, kind, kind) for kind in ordered))


def _type(value: Any) -> TypeName:
    kind = KINDS[type(value)]
    if kind is NUMBER:
        return TypeName("int" if type(whole(value)) is int else "double")
    return TypeName(TYPE_NAMES[kind])


def _int(value: float) -> int:
    return in_range(int(value)) if type(value) is int or abs(value) < 2.0**64 else in_range(2**64)


def _int_of_text(text: str) -> int:
    if INTEGER.fullmatch(text):
        return in_range(int(text))
    raise Wrong(f"{text[:40]!r} is not an integer")


def _unsigned(value: int) -> int:
    if value >= 0:
        return value
    raise Wrong("uint() takes no negative number")


def _double_of_text(text: str) -> float:
    if len(text) <= MAX_DIGITS and DECIMAL.fullmatch(text) and math.isfinite(value := float(text)):
        return value
    raise Wrong(f"{text[:40]!r} is not a number")


def _written(value: float) -> str:
    return str(exact(value))


def _bool_of_text(text: str) -> bool:
    if text in TRUE or text in FALSE:
        return text in TRUE
    raise Wrong(f"{text[:40]!r} is neither true nor false")


TEXT_READERS: dict[str, Callable[[str], Any]] = {
    "int": _int_of_text,
    "uint": lambda text: _unsigned(_int_of_text(text)),
    "double": _double_of_text,
    "bool": _bool_of_text,
}
"""The readers of texts of which functions make values."""


def _text_of_bytes(value: bytes) -> str:
    try:
        return value.decode()
    except UnicodeDecodeError:
        raise Wrong("the bytes are not text in UTF-8") from None


def matches(text: str, pattern: str) -> bool:
    """Return whether a regular expression (RE2, https://github.com/google/re2/wiki/Syntax) is found in a text."""
    if len(pattern) > MAX_PATTERN:
        raise Wrong(f"a regular expression has at most {MAX_PATTERN:,} characters, not {len(pattern):,}")
    if price_of(pattern) > MAX_PRICE:
        raise Wrong(f"{pattern[:80]!r} is too large for a regular expression")
    try:
        return bool(evaluator("text.matches(pattern)")(text=text, pattern=pattern))
    except ValueError as error:
        reason = str(error).rpartition("expression: ")[2]
        raise Wrong(f"{pattern[:80]!r} is not a regular expression: {reason}") from None


def _parts() -> dict[str, Function]:
    functions = {}
    for name, (of_time, in_zone) in TIME_PARTS.items():
        overloads = [_of(of_time, NUMBER, TIME), _of(in_zone, NUMBER, TIME, TEXT)]
        if name in DURATION_PARTS:
            overloads.append(_of(DURATION_PARTS[name], NUMBER, DURATION))
        functions[name] = Function(tuple(overloads), is_method=True)
    return functions


def _same(value: Any) -> Any:
    return value


FUNCTIONS: dict[str, Function] = {
    "size": Function(tuple(_of(len, NUMBER, kind) for kind in (TEXT, BYTES, LIST, OBJECT))),
    "startsWith": Function((_of(str.startswith, BOOL, TEXT, TEXT),), is_method=True),
    "endsWith": Function((_of(str.endswith, BOOL, TEXT, TEXT),), is_method=True),
    "contains": Function((_of(operator.contains, BOOL, TEXT, TEXT),), is_method=True),
    "matches": Function((_of(matches, BOOL, TEXT, TEXT),)),
    "int": Function(
        (_of(_int, NUMBER, NUMBER), _of(_int_of_text, NUMBER, TEXT), _of(seconds_of_time, NUMBER, TIME)),
        is_method=False,
    ),
    "uint": Function(
        (
            _of(lambda value: _unsigned(_int(value)), NUMBER, NUMBER),
            _of(TEXT_READERS["uint"], NUMBER, TEXT),
        ),
        is_method=False,
    ),
    "double": Function((_of(float, NUMBER, NUMBER), _of(_double_of_text, NUMBER, TEXT)), is_method=False),
    "bool": Function((_of(_same, BOOL, BOOL), _of(_bool_of_text, BOOL, TEXT)), is_method=False),
    "string": Function(
        (
            _of(_written, TEXT, NUMBER),
            _of(lambda value: "true" if value else "false", TEXT, BOOL),
            _of(_same, TEXT, TEXT),
            _of(_text_of_bytes, TEXT, BYTES),
            _of(written_time, TEXT, TIME),
            _of(written_duration, TEXT, DURATION),
        ),
        is_method=False,
    ),
    "bytes": Function((_of(str.encode, BYTES, TEXT), _of(_same, BYTES, BYTES)), is_method=False),
    "type": Function(tuple(_of(_type, Kind.TYPE, kind) for kind in Kind), is_method=False),
    "dyn": Function(tuple(_of(_same, kind, kind) for kind in Kind), is_method=False),
    "timestamp": Function(
        (_of(parse_time, TIME, TEXT), _of(time_of_seconds, TIME, NUMBER), _of(_same, TIME, TIME)), is_method=False
    ),
    "duration": Function((_of(parse_duration, DURATION, TEXT), _of(_same, DURATION, DURATION)), is_method=False),
    **_parts(),
}
"""The functions that a condition may call. docs/rules.md lists them."""


OPERATORS: dict[str, Function] = {
    "_<_": _compared(operator.lt),
    "_<=_": _compared(operator.le),
    "_>_": _compared(operator.gt),
    "_>=_": _compared(operator.ge),
    "_+_": Function(
        (
            _of(add, NUMBER, NUMBER, NUMBER),
            *(_of(operator.add, kind, kind, kind) for kind in (TEXT, BYTES, LIST)),
            _of(sum_of, DURATION, DURATION, DURATION),
            _of(shifted, TIME, TIME, DURATION),
            _of(shifted, TIME, DURATION, TIME),
        )
    ),
    "_-_": Function(
        (
            _of(subtract, NUMBER, NUMBER, NUMBER),
            _of(between, DURATION, DURATION, DURATION),
            _of(between, DURATION, TIME, TIME),
            _of(lambda time, duration: shifted(time, -duration), TIME, TIME, DURATION),
        )
    ),
    "_*_": Function((_of(multiply, NUMBER, NUMBER, NUMBER),)),
    "_/_": Function((_of(divide, NUMBER, NUMBER, NUMBER),)),
    "_%_": Function((_of(remainder, NUMBER, NUMBER, NUMBER),)),
    "-_": Function((_of(negate, NUMBER, NUMBER),)),
    "!_": Function((_of(operator.not_, BOOL, BOOL),)),
}
"""The operators that need arguments of certain kinds, by their names in a syntax tree."""


def sign_of(operator_name: str) -> str:
    """Return an operator as it is written in a condition."""
    return operator_name.replace("_", "").removeprefix("@")
