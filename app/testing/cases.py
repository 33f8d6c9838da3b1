"""Reads `cases.toml`, the test cases of a line: records, and the journeys that they are expected to make."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any, Literal

import orjson
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from metroline.agents.services.service import service
from metroline.app.operations.exact_json import exact_object
from metroline.app.testing.messages import Message, seconds
from metroline.app.testing.toml_statements import Table, tables_of
from metroline.app.testing.toml_values import not_json
from metroline.routing.errors import InvalidCases, MetrolineError, UsageError
from metroline.routing.outcome import Drop
from metroline.routing.rules.toml_text import InvalidToml, decode_toml
from metroline.routing.spelling import unknown_key

FILE = "cases.toml"

EXPECTED = ("stops", "outcome", "reason", "end", "changes", "removes")
"""The keys of a case that say what is expected."""

JsonObject = dict[str, Any] | str
"""A JSON object: a table or, if it holds a null, its JSON in a string."""

Text = Annotated[str, Field(strict=True)]

Record = dict[str, Any]

EXPLAINED = {
    "missing": "is missing",
    "string_type": "must be text",
    "dict_type": "must be a table",
    "list_type": "must be a list",
    "model_type": "must be a table",
}


class NoCases(UsageError):
    """Raised when a line has no `cases.toml`."""


class _Keys(BaseModel):
    """A table that has no keys but those that are named here."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class StandIn(_Keys):
    """A table `[services.STOP]`: a stand-in for the service of a stop."""

    sets: JsonObject = Field(default_factory=dict)
    """The fields that the record gets."""
    drop: Text | None = None
    """The reason for which the record is dropped."""


class CaseTable(_Keys):
    """A table `[[cases]]`."""

    name: Text | None = None
    record: JsonObject
    """The record that comes in."""
    key: Text | None = None
    headers: dict[str, Text] = Field(default_factory=dict)
    timestamp: datetime | None = None
    """The timestamp of the source message. Default: the time at which it comes in."""
    now: datetime | None = None
    """Time at which the record comes in. Default: the present time."""
    services: dict[str, StandIn] = Field(default_factory=dict)
    stops: list[Text] | None = None
    outcome: Literal["delivered", "dropped", "dead"] | None = None
    reason: Text | None = None
    end: Text | None = None
    changes: JsonObject | None = None
    removes: list[Text] | None = None
    ignore: list[Text] = Field(default_factory=list)
    """Fields that are not compared."""


class CasesTable(_Keys):
    """The content of `cases.toml`."""

    cases: list[CaseTable] = Field(default_factory=list)
    lookups: dict[str, dict[str, Any]] = Field(default_factory=dict)
    """Entries of lookups, in place of those on disk."""
    services: dict[str, StandIn] = Field(default_factory=dict)
    """Stand-ins for services, by their stops."""
    settings: dict[str, Any] = Field(default_factory=dict)
    """Values of settings of the line, in place of those in the environment, by the fields of its class `Settings`."""


Handler = Callable[[Record], Record | Drop]


@dataclass(frozen=True, slots=True)
class Case:
    """A record, and what is expected of its journey: nothing, where a field is None."""

    name: str
    line: int
    """The line of the file where the case begins."""
    message: Message
    now: float | None
    """Time at which the record comes in, in seconds since the epoch; None for the present time."""
    services: Mapping[str, Handler]
    """Functions in place of services, by their stops."""
    stops: list[str] | None
    outcome: str | None
    reason: str | None
    end: str | None
    changes: Record | None
    removes: list[str] | None
    ignore: frozenset[str]

    @property
    def expects_nothing(self) -> bool:
        return all(getattr(self, name) is None for name in EXPECTED)


@dataclass(frozen=True, slots=True)
class Cases:
    """The cases of a line."""

    file: Path
    text: str
    cases: tuple[Case, ...]
    lookups: Mapping[str, Mapping[str, Any]]
    services: Mapping[str, Handler]
    settings: Mapping[str, Any]

    @classmethod
    def read(cls, file: Path) -> Cases:
        """Return the cases in a file.

        Raise `NoCases` if there is no such file, and `InvalidCases` with every problem and its line.
        """
        if not file.is_file():
            raise NoCases(f"{file} is missing: create it with a [[cases]] that has a record; --update writes the rest")
        try:
            with file.open(encoding="utf-8-sig", newline="") as source:  # with the line breaks that it has
                text = source.read()
        except (OSError, UnicodeDecodeError) as error:
            raise InvalidCases((f"{file}:1: it cannot be read as text in UTF-8 ({error})",)) from error
        return cls.parse(text, file)

    @classmethod
    def parse(cls, text: str, file: Path) -> Cases:
        """Return the cases in a text, as `read` does."""
        try:
            data = decode_toml(text)
        except InvalidToml as error:
            place = f"{error.line}" if error.column is None else f"{error.line}:{error.column}"
            raise InvalidCases((f"{file}:{place}: {error}{error.shown}",)) from error
        places = _Places(text)
        try:
            table = CasesTable.model_validate(data)
        except ValidationError as error:
            problems = [_described(tuple(one["loc"]), one) for one in error.errors()]
        else:
            problems = [*_wrong_values(table)]
        if problems:
            found = sorted({(places.line_of(path), what) for path, what in problems})
            raise InvalidCases(tuple(f"{file}:{line}: {what}" for line, what in found))
        made = tuple(_case(number, one, places) for number, one in enumerate(table.cases))
        return cls(file, text, made, table.lookups, _handlers(table.services), table.settings)


KeyPath = tuple[str | int, ...]
Problem = tuple[KeyPath, str]
"""The keys and indexes that lead to what is wrong, and what is wrong there."""


class _Places:
    """The lines of the tables in a `cases.toml`."""

    def __init__(self, text: str) -> None:
        self._tables = tables_of(text)
        self._starts = [place for place, table in enumerate(self._tables) if table.name == ("cases",)]

    def of_case(self, number: int) -> list[Table]:
        """Return the table of a case and those within it; none if the cases are not written as `[[cases]]`."""
        if number >= len(self._starts):
            return []
        first = self._starts[number]
        tables = [self._tables[first]]
        for table in self._tables[first + 1 :]:
            if table.name[:1] != ("cases",) or len(table.name) == 1:
                break
            tables.append(table)
        return tables

    def line_of(self, path: KeyPath) -> int:
        """Return the line of a key, or of the table in which it is or is missing; 1 if it is not found."""
        if len(path) > 1 and path[0] == "cases" and isinstance(path[1], int):
            return _line_in(self.of_case(path[1]), tuple(map(str, path[2:])), 1)
        return _line_in(self._tables, tuple(map(str, path)), 0)


def _line_in(tables: list[Table], path: tuple[str, ...], depth: int) -> int:
    """Return the line of the longest part of a path that has one in these tables, whose names begin at `depth`."""
    line, known = (tables[0].line if tables else 1), -1
    for table in tables:
        name = table.name[depth:]
        if name != path[: len(name)]:
            continue
        rest = path[len(name) :]
        own = table.line_of(rest[0]) if rest else None
        found = len(name) + (own is not None)
        if found > known:
            line, known = own or table.line, found
    return line


def _described(path: KeyPath, error: Any) -> Problem:
    names = tuple(step for step in path if step not in ("dict[str,any]", "str", "function-after"))
    what = EXPLAINED.get(error["type"], error["msg"])
    if error["type"] == "extra_forbidden":
        what = unknown_key(str(names[-1]), _known_keys(names))
    elif error["type"] == "literal_error":
        what = f"must be {error['ctx']['expected']}"
    return names, f"{_name(names)}: {what}"


def _known_keys(path: KeyPath) -> list[str]:
    table: type[_Keys] = CasesTable
    if len(path) > 1:
        table = CaseTable if path[0] == "cases" and "services" not in path else StandIn
    return list(table.model_fields)


def _name(path: KeyPath) -> str:
    """Return a path as a message names it: the first case is `cases 1`."""
    steps = [f" {step + 1}" if isinstance(step, int) else f".{step}" for step in path]
    return "".join(steps).removeprefix(".")


def _wrong_values(table: CasesTable) -> Iterator[Problem]:
    """Yield what is wrong with values of the right types."""
    if not table.cases:
        yield ("cases",), "there are no cases: write [[cases]] and a record"
    names = [case.name for case in table.cases]
    for number, case in enumerate(table.cases):
        path: KeyPath = ("cases", number)
        if case.name is not None and case.name in names[:number]:
            yield (*path, "name"), f"{_name(path)}.name: there is another case named {case.name!r}"
        yield from _wrong_object((*path, "record"), case.record)
        yield from _wrong_object((*path, "changes"), case.changes or {})
        for key, moment in (("timestamp", case.timestamp), ("now", case.now)):
            if moment is not None and moment.utcoffset() is None:
                yield (*path, key), f"{_name(path)}.{key}: has no time zone: write Z behind it for UTC"
        for stop, stand_in in case.services.items():
            yield from _wrong_object((*path, "services", stop, "sets"), stand_in.sets)
    for stop, stand_in in table.services.items():
        yield from _wrong_object(("services", stop, "sets"), stand_in.sets)
    for name, entries in table.lookups.items():
        yield from _wrong_object(("lookups", name), entries)


def _wrong_object(path: KeyPath, value: JsonObject) -> Iterator[Problem]:
    if isinstance(value, str):
        try:
            exact_object(value.encode())
        except MetrolineError as error:
            yield path, f"{_name(path)}: {error}"
        return
    for inner, what in not_json(value):
        yield (*path, *inner), f"{_name((*path, *inner))}: {what}"


def _object(value: JsonObject) -> Record:
    return exact_object(value.encode()) if isinstance(value, str) else value


def _case(number: int, table: CaseTable, places: _Places) -> Case:
    record = table.record if isinstance(table.record, str) else orjson.dumps(table.record)
    return Case(
        table.name or f"case {number + 1}",
        places.line_of(("cases", number)),
        Message(record, table.key, table.headers, table.timestamp),
        None if table.now is None else seconds(table.now, "now"),
        _handlers(table.services),
        table.stops,
        table.outcome,
        table.reason,
        table.end,
        None if table.changes is None else _object(table.changes),
        table.removes,
        frozenset(table.ignore),
    )


def _handlers(stand_ins: Mapping[str, StandIn]) -> dict[str, Handler]:
    return {stop: _handler(one) for stop, one in stand_ins.items()}


def _handler(stand_in: StandIn) -> Handler:
    sets = _object(stand_in.sets)

    @service  # it takes the whole record as a dict, whatever the service in whose place it stands takes
    def handle(record: Record) -> Record | Drop:
        return record | sets if stand_in.drop is None else Drop(stand_in.drop)

    return handle
