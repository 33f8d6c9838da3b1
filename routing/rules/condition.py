"""Conditions of rules, written in CEL, the Common Expression Language (https://github.com/google/cel-spec).

A condition is compiled once and receives only the fields that it reads. This module defines what CEL leaves open: which
fields of a record a condition reads, and that an absent field reads as null.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from metroline.routing.errors import ConditionError
from metroline.routing.records.field_sets import FieldSet
from metroline.routing.rules.cel_engine import cel
from metroline.routing.rules.condition_fields import ANY, META, TYPE_NAMES, FieldScan, Path
from metroline.routing.rules.condition_syntax import syntax_error
from metroline.routing.rules.rule_meta import NO_META, RuleMeta, as_variable

MAX_CONDITION_CHARACTERS = 1_000
"""Maximum number of characters in a condition."""

FUNCTIONS = frozenset(
    {
        *("size", "startsWith", "endsWith", "contains", "matches"),
        *("int", "uint", "double", "string", "bytes", "type", "dyn", "timestamp", "duration"),
        *("getFullYear", "getMonth", "getDayOfYear", "getDayOfMonth", "getDate", "getDayOfWeek"),
        *("getHours", "getMinutes", "getSeconds", "getMilliseconds"),
    }
)
"""The functions that the CEL package can evaluate. It compiles calls of others, too, but they fail for every record."""

IDENTIFIER = re.compile(r"[A-Za-z_]\w*\Z")


UNDEFINED = re.compile(r"Undefined variable or function: '(\w+)'")
"""The error of the CEL package for a call of a function with arguments of the wrong type."""


@dataclass(frozen=True, slots=True)
class Condition:
    """A compiled condition."""

    text: str
    program: cel.Program
    fields: tuple[str, ...]
    """The fields read as variables."""
    literals: tuple[str, ...]
    """The fields read as `record["name"]`."""
    whole: bool
    """True if the condition also reads `record` in other ways."""
    paths: tuple[Path, ...]
    """The paths of all values read, including nested ones."""
    ranges: tuple[Path, ...]
    """The paths over which comprehensions iterate."""
    reads: FieldSet
    """The top-level fields on which the result depends; None for the whole record."""
    meta: frozenset[str] = frozenset()
    """The fields of `meta`, the metadata of the record, on which the result depends."""

    @classmethod
    def compile(cls, text: str) -> Condition:
        """Return the compiled condition; raise `ConditionError` if it is not valid."""
        if len(text) > MAX_CONDITION_CHARACTERS:
            limit = f"at most {MAX_CONDITION_CHARACTERS} are allowed"
            raise ConditionError(f"the condition is {len(text)} characters long; {limit}")
        try:
            program = cel.compile(text)
        except ValueError as error:
            raise syntax_error(text, str(error)) from error
        unknown = sorted(name for name in program.functions() if name not in FUNCTIONS and IDENTIFIER.match(name))
        if unknown:
            raise ConditionError(f"the condition calls {', '.join(unknown)}, which CEL does not have")
        scan = FieldScan(text)
        names = scan.fields | (set(program.variables()) - scan.bound - TYPE_NAMES - {"record", "meta"})
        return cls(
            text,
            program,
            tuple(sorted(names)),
            tuple(sorted(scan.literals)),
            scan.whole,
            tuple(scan.paths),
            tuple(scan.ranges),
            None if scan.whole else frozenset(names | scan.literals),
            frozenset(scan.meta),
        )

    def holds(self, record: dict[str, Any], meta: RuleMeta = NO_META) -> bool:
        """Return whether the condition holds for a record; raise `ConditionError` if it cannot be evaluated."""
        variables = _fields(record, self.fields)
        known: dict[Any, Any] = record
        if self.meta:
            variables["meta"] = as_variable(meta)
            known = {**record, META: variables["meta"]}
        for path in self.ranges:
            if isinstance(_at(known, path), dict):
                problem = "it is an object, whose entries have no order"
                raise ConditionError(f"a comprehension cannot iterate over {path[-1]!r}: {problem}")
        if self.whole:
            variables["record"] = record
        elif self.literals:
            variables["record"] = {name: record.get(name) for name in self.literals}
        try:
            answer = self.program.execute(variables)
        except Exception as error:  # noqa: BLE001 - the CEL package may raise anything; none of it may stop a worker
            return self._undecided(known, error)
        except BaseException as error:
            if type(error).__name__ != "PanicException":  # raised for a panic in the Rust code of the CEL package
                raise
            raise ConditionError(f"the CEL package failed: {_first_line(error)}") from error
        if answer is True or answer is False:
            return answer
        raise ConditionError(f"the condition evaluates to {type(answer).__name__}, not to true or false")

    def _undecided(self, known: dict[Any, Any], error: Exception) -> bool:
        """Return False if a value that the condition reads is null or absent; raise `ConditionError` otherwise."""
        reads = self.reads
        seen = known
        if reads is not None:
            seen = dict(_fields(known, reads))
            if self.meta:
                seen[META] = known[META]
        for path in self.paths:
            if _lacks(seen, path, absent_index=isinstance(error, LookupError)):
                return False
        raise ConditionError(_first_line(error)) from error


def _fields(record: dict[str, Any], names: Iterable[str]) -> dict[str, Any]:
    """Return these fields of a record, None for an absent one.

    A name that is also a type in CEL is left out unless the record has such a field, so that it names the type.
    """
    found = {}
    for name in names:
        value = record.get(name)
        if value is not None or name not in TYPE_NAMES:
            found[name] = value
    return found


def _at(value: Any, path: Path) -> Any:
    """Return the value at a path, or None."""
    for step in path:
        try:
            value = value[step]
        except (LookupError, TypeError):
            return None
    return value


def _lacks(value: Any, path: Sequence[Any], *, absent_index: bool) -> bool:
    """Return whether a value along the path is null or absent.

    `absent_index` says that the error was a failed look-up, so that a computed index in the path counts as absent.
    """
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
        except TypeError:  # a list has no names and a number no elements: the value has another type, it is not absent
            return False
    return value is None


def _elements(value: Any) -> Iterator[Any]:
    if isinstance(value, dict):
        yield from value.values()
    elif isinstance(value, list):
        yield from value


def _first_line(error: BaseException) -> str:
    """Return the first sentence of an error's text, without the long explanations that the CEL package appends."""
    if isinstance(error, KeyError):
        return f"there is no {error}"
    lines = str(error).strip().splitlines()
    called = UNDEFINED.match(lines[0]) if lines else None
    if called is not None and called.group(1) in FUNCTIONS:  # the function is defined, but not for this type
        return f"{called.group(1)} cannot be called on a value of this type"
    return lines[0].split(". ")[0][:300] if lines else type(error).__name__
