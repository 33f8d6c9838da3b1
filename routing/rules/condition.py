"""Conditions of rules: CEL, compiled once, handed only the fields that they read.

CEL is the Common Expression Language (https://github.com/google/cel-spec). What is not in the language is decided here:
which fields of a record a condition reads, and that a field that is absent reads as null.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from metroline.routing.errors import ConditionError
from metroline.routing.records.field_sets import FieldSet
from metroline.routing.rules.cel_engine import cel
from metroline.routing.rules.condition_fields import ANY, TYPE_NAMES, FieldScan, Path

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

IDENTIFIER = re.compile(r"[A-Za-z_]\w*\Z")


UNDEFINED = re.compile(r"Undefined variable or function: '(\w+)'")
"""How the CEL package says that a function does not take such a value."""


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
        scan = FieldScan(text)
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
