"""Conditions of rules: CEL, compiled once, handed only the fields that they read.

CEL is the Common Expression Language (https://github.com/google/cel-spec). What is not in the language is decided here:
which fields of a record a condition reads, and that a field that is absent reads as null.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import cel

from metroline.routing.errors import ConditionError
from metroline.routing.records.fingerprints import FieldSet

MAX_LENGTH = 1_000
"""Characters that a condition may have."""

FUNCTIONS = frozenset(
    {
        *("size", "startsWith", "endsWith", "contains", "matches"),
        *("int", "uint", "double", "string", "bytes", "type", "dyn", "timestamp", "duration"),
        *("getFullYear", "getMonth", "getDayOfYear", "getDayOfMonth", "getDate", "getDayOfWeek"),
        *("getHours", "getMinutes", "getSeconds", "getMilliseconds"),
    }
)
"""The functions that the CEL package evaluates; it compiles others too and then fails on every record."""

MACROS = frozenset({"all", "exists", "exists_one", "existsOne", "map", "filter"})
KEYWORDS = frozenset({"true", "false", "null", "in"})
TYPE_NAMES = frozenset({"int", "uint", "double", "bool", "string", "bytes", "list", "map", "null_type"})
IDENTIFIER = re.compile(r"[A-Za-z_]\w*\Z")

TOKEN = re.compile(
    r"""(?P<space>\s+|//[^\n]*)
      |(?P<string>[bB]?[rR](?:\"\"\".*?\"\"\"|'''.*?'''|"[^"]*"|'[^']*')
                 |[bB]?(?:\"\"\"(?:\\.|[^\\])*?\"\"\"|'''(?:\\.|[^\\])*?'''|"(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*'))
      |(?P<number>0[xX][0-9a-fA-F]+u?|(?:\d+(?:\.\d+)?|\.\d+)(?:[eE][+-]?\d+)?u?)
      |(?P<name>[A-Za-z_]\w*)
      |(?P<sign>.)""",
    re.VERBOSE | re.DOTALL,
)

UNDEFINED = re.compile(r"Undefined variable or function: '(\w+)'")
"""How the CEL package says that a function does not take such a value."""

ANY = object()
"""A step of a path that is known only when the condition runs: an index that is an expression, an element of a list."""

Path = tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class _Token:
    kind: str
    text: str


@dataclass(slots=True)
class _Scope:
    """An open bracket; a comprehension's names the elements of `over`."""

    name: str | None = None
    over: Path = (ANY,)
    gives: Path | None = None
    """Whose elements the list has that stands there once it is closed; None where that may be no list."""


@dataclass(frozen=True, slots=True)
class Condition:
    """A compiled condition.

    `fields` are the variables, `literals` the fields read as `record["name"]`; `whole` says that it reads the record
    in another way too. `paths` are the places it reads, nested ones included; over those in `ranges` comprehensions go.
    """

    text: str
    program: cel.Program
    fields: tuple[str, ...]
    literals: tuple[str, ...]
    whole: bool
    paths: tuple[Path, ...]
    ranges: tuple[Path, ...]
    reads: FieldSet
    """The top-level fields that its answer depends on."""

    @classmethod
    def compile(cls, text: str) -> Condition:
        """Compiles a condition; raises `ConditionError` that says what is wrong with it."""
        if len(text) > MAX_LENGTH:
            raise ConditionError(f"the condition is {len(text)} characters long; {MAX_LENGTH} are allowed")
        try:
            program = cel.compile(text)
        except ValueError as error:
            raise ConditionError(f"the condition does not compile: {_first_line(error)}") from error
        unknown = sorted(name for name in program.functions() if name not in FUNCTIONS and IDENTIFIER.match(name))
        if unknown:
            raise ConditionError(f"the condition calls {', '.join(unknown)}, which CEL does not have")
        scan = _Scan(text)
        names = scan.fields | (set(program.variables()) - scan.bound - TYPE_NAMES - {"record"})
        return cls(
            text,
            program,
            tuple(sorted(names)),
            tuple(sorted(scan.literals)),
            scan.whole,
            tuple(scan.paths),
            tuple(scan.ranges),
            None if scan.whole else frozenset(names | scan.literals),
        )

    def holds(self, record: dict[str, Any]) -> bool:
        """Whether it holds for a record; raises `ConditionError` where it cannot be decided."""
        variables = _fields(record, self.fields)
        for path in self.ranges:
            if isinstance(_at(record, path), dict):
                raise ConditionError(f"a comprehension goes over {path[-1]!r}, an object: its entries have no order")
        if self.whole:
            variables["record"] = record
        elif self.literals:
            variables["record"] = {name: record.get(name) for name in self.literals}
        try:
            answer = self.program.execute(variables)
        except Exception as error:  # noqa: BLE001 - whatever the CEL package raises, the record goes on
            return self._undecided(record, error)
        except BaseException as error:
            if type(error).__name__ != "PanicException":  # how a fault inside the CEL package shows
                raise
            raise ConditionError(f"the CEL package failed: {_first_line(error)}") from error
        if answer is True or answer is False:
            return answer
        raise ConditionError(f"the condition gives {type(answer).__name__}, not true or false")

    def _undecided(self, record: dict[str, Any], error: Exception) -> bool:
        """False where a field that the condition reads is null or absent; raises otherwise."""
        reads = self.reads
        seen = record if reads is None else _fields(record, reads)
        for path in self.paths:
            if _lacks(seen, path, absent_index=isinstance(error, LookupError)):
                return False
        raise ConditionError(_first_line(error)) from error


class _Scan:
    """Which fields a condition reads, found from its tokens."""

    def __init__(self, text: str) -> None:
        self.fields: set[str] = set()
        self.literals: set[str] = set()
        self.whole = False
        self.paths: list[Path] = []
        self.ranges: list[Path] = []
        self.bound: set[str] = set()
        self._tokens = [_Token(m.lastgroup or "", m.group()) for m in TOKEN.finditer(text) if m.lastgroup != "space"]
        self._scopes: list[_Scope] = []
        self._read()

    def _read(self) -> None:
        at = 0
        last: Path = (ANY,)  # the path that ends right before the token at hand
        listed = False  # whether a list for certain ends there
        while at < len(self._tokens):
            token = self._tokens[at]
            if token.text in ("(", "[", "{") and token.kind == "sign":
                self._scopes.append(_Scope(gives=() if token.text == "[" and not self._is_index(at) else None))
            elif token.text in (")", "]", "}") and token.kind == "sign" and self._scopes:
                gives = self._scopes.pop().gives
                last, listed = ((ANY,), False) if gives is None else (gives, True)
                at += 1
                continue
            elif token.kind == "name" and self._is_member(at):
                if token.text in MACROS and self._is(at + 1, "("):
                    self._open_macro(at, last, listed)
                    at += 3
                    continue
            elif token.kind == "name" and token.text not in KEYWORDS and not self._is(at + 1, "("):
                at, last = self._variable(at)
                continue
            if token.text != ".":
                last, listed = (ANY,), False
            at += 1

    def _variable(self, at: int) -> tuple[int, Path]:
        """Reads a variable and the steps behind it; returns where it ends and its path."""
        name = self._tokens[at].text
        scope = next((scope for scope in reversed(self._scopes) if scope.name == name), None)
        end, steps = self._steps(at + 1)
        if scope is not None:
            path = (*scope.over, ANY, *steps)
        elif name == "record":
            if steps and isinstance(steps[0], str) and self._is(at + 1, "["):
                self.literals.add(steps[0])
                path = steps
            else:
                self.whole = True
                path = steps or (ANY,)
        else:
            self.fields.add(name)
            path = (name, *steps)
        if scope is not None or steps or name not in TYPE_NAMES:
            self.paths.append(path)
        return end, path

    def _steps(self, at: int) -> tuple[int, Path]:
        """The `.name` and `[...]` behind a variable; a call ends them, an index that is an expression is `ANY`."""
        steps: list[Any] = []
        while True:
            if self._is(at, ".") and self._kind(at + 1) == "name" and not self._is(at + 2, "("):
                steps.append(self._tokens[at + 1].text)
                at += 2
            elif self._is(at, "[") and self._kind(at + 1) in ("string", "number") and self._is(at + 2, "]"):
                steps.append(cel.evaluate(self._tokens[at + 1].text))
                at += 3
            else:
                if self._is(at, "["):
                    steps.append(ANY)
                return at, tuple(steps)

    def _open_macro(self, at: int, over: Path, listed: bool) -> None:
        """Opens a comprehension: over lists only, because CEL goes over an object's entries in a random order."""
        macro = self._tokens[at].text
        if any(scope.name for scope in self._scopes):
            raise ConditionError("a comprehension inside a comprehension is not allowed")
        if self._kind(at + 2) != "name" or not self._is(at + 3, ","):
            raise ConditionError(f"{macro}() needs a plain name for the elements")
        if not listed:
            if ANY in over:
                raise ConditionError(f"{macro}() goes over a field, a list written out or what map() and filter() give")
            self.ranges.append(over)
        name = self._tokens[at + 2].text
        self.bound.add(name)
        self._scopes.append(_Scope(name, over, {"filter": over, "map": (ANY,)}.get(macro)))

    def _is_index(self, at: int) -> bool:
        """Whether the bracket here picks an element, instead of beginning a list."""
        if at == 0:
            return False
        before = self._tokens[at - 1]
        if before.kind == "sign":
            return before.text in (")", "]", "}")
        return before.text != "in"

    def _is_member(self, at: int) -> bool:
        return at > 0 and self._is(at - 1, ".")

    def _is(self, at: int, text: str) -> bool:
        return at < len(self._tokens) and self._tokens[at].text == text and self._tokens[at].kind == "sign"

    def _kind(self, at: int) -> str | None:
        return self._tokens[at].kind if at < len(self._tokens) else None


def _fields(record: dict[str, Any], names: Iterable[str]) -> dict[str, Any]:
    """These fields of a record, null where absent; the name of a type stands for the type unless a field has it."""
    found = {}
    for name in names:
        value = record.get(name)
        if value is not None or name not in TYPE_NAMES:
            found[name] = value
    return found


def _at(value: Any, path: Path) -> Any:
    """What stands at a place, or None."""
    for step in path:
        try:
            value = value[step]
        except (LookupError, TypeError):
            return None
    return value


def _lacks(value: Any, path: Sequence[Any], *, absent_index: bool) -> bool:
    """Whether somewhere along the path there is a null or nothing at all."""
    for at, step in enumerate(path):
        if value is None:
            return True
        if step is ANY:
            rest = path[at + 1 :]
            return absent_index or any(_lacks(element, rest, absent_index=False) for element in _elements(value))
        try:
            value = value[step]
        except LookupError:
            return not isinstance(value, str)
        except TypeError:  # a list has no names, a number no elements: not absent but something else
            return False
    return value is None


def _elements(value: Any) -> Iterator[Any]:
    if isinstance(value, dict):
        yield from value.values()
    elif isinstance(value, list):
        yield from value


def _first_line(error: BaseException) -> str:
    """The first sentence of an error's text; the CEL package explains itself at length behind it."""
    if isinstance(error, KeyError):
        return f"there is no {error}"
    lines = str(error).strip().splitlines()
    called = UNDEFINED.match(lines[0]) if lines else None
    if called is not None and called.group(1) in FUNCTIONS:  # it is defined, for values of another kind
        return f"{called.group(1)} cannot be called on a value of this kind"
    return lines[0].split(". ")[0][:300] if lines else type(error).__name__
