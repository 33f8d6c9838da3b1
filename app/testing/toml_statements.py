"""Divides a TOML text into its statements, so that single values can be replaced and all comments stay."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import groupby
from typing import Any

from metroline.app.testing.toml_values import toml_key, toml_value
from metroline.routing.records.fingerprints import fingerprint
from metroline.routing.rules.toml_lines import ASSIGNMENT, KEY, TABLE

LINE = re.compile(r"[^\n]*\n|[^\n]+")


@dataclass(frozen=True, slots=True)
class Statement:
    """A statement of a TOML text with the line breaks that it has: a header, an assignment, or a line without any."""

    text: str
    line: int
    """The number of its first line, from 1 on."""
    keys: tuple[str, ...] = ()
    """The names in a header or before the equals sign; none for an empty line or a comment."""
    is_header: bool = False

    def with_value(self, value: Any, line_break: str) -> Statement:
        """Return an assignment of another value, with the comment behind it."""
        found = ASSIGNMENT.match(self.text)
        assert found is not None
        return replace(self, text=f"{found[0]} {toml_value(value)}{_comment(self.text)}{line_break}")


@dataclass(frozen=True, slots=True)
class Table:
    """A table of a TOML text: its header, and the statements up to the next one."""

    header: Statement | None
    """None for the beginning of the text."""
    body: tuple[Statement, ...]

    @property
    def name(self) -> tuple[str, ...]:
        return () if self.header is None else self.header.keys

    @property
    def line(self) -> int:
        return 1 if self.header is None else self.header.line

    @property
    def text(self) -> str:
        return "".join(statement.text for statement in (self.header, *self.body) if statement is not None)

    def line_of(self, key: str) -> int | None:
        """Return the line of the first assignment to a key of the table; None if there is none."""
        return next((one.line for one in self.body if one.keys[:1] == (key,)), None)

    def edited(self, before: Mapping[str, Any], after: Mapping[str, Any]) -> Table:
        """Return the table with other values: keys that `after` does not have are removed, new ones are added."""
        body: list[Statement] = []
        for key, own in groupby(self.body, lambda statement: statement.keys[:1]):
            statements = list(own)
            body += self._edited(statements, key[0], before, after) if key else statements
        known = {statement.keys[0] for statement in self.body if statement.keys}
        new = [self._assignment(key, after[key]) for key in after if key not in known]
        if not new:
            return replace(self, body=tuple(body))
        at = max((place + 1 for place, statement in enumerate(body) if statement.keys), default=0)
        if at and not body[at - 1].text.endswith("\n"):
            body[at - 1] = replace(body[at - 1], text=body[at - 1].text + self._line_break)
        return replace(self, body=(*body[:at], *new, *body[at:]))

    @property
    def _line_break(self) -> str:
        return "\r\n" if self.text.endswith("\r\n") else "\n"

    def _edited(
        self, statements: list[Statement], key: str, before: Mapping[str, Any], after: Mapping[str, Any]
    ) -> list[Statement]:
        """Return the statements that assign to a key, so that they assign the value that it has in `after`."""
        if key not in after:
            return []
        if fingerprint(before[key]) == fingerprint(after[key]):
            return statements
        first = statements[0]
        if len(statements) == 1 and len(first.keys) == 1:
            return [first.with_value(after[key], self._line_break)]
        return [self._assignment(key, after[key])]

    def _assignment(self, key: str, value: Any) -> Statement:
        return Statement(f"{toml_key(key)} = {toml_value(value)}{self._line_break}", 0, (key,))


def tables_of(text: str) -> list[Table]:
    """Return the tables of a valid TOML text; the first one is what comes before all headers."""
    tables: list[Table] = []
    header: Statement | None = None
    body: list[Statement] = []
    for statement in statements_of(text):
        if statement.is_header:
            tables.append(Table(header, tuple(body)))
            header, body = statement, []
        else:
            body.append(statement)
    return [*tables, Table(header, tuple(body))]


def statements_of(text: str) -> Iterator[Statement]:
    """Yield the statements of a valid TOML text. Their texts together are the text."""
    lines = LINE.findall(text)
    number = 0
    while number < len(lines):
        line, first = lines[number].lstrip(), number
        number += 1
        if not line or line.startswith("#"):
            yield Statement(lines[first], first + 1)
        elif line.startswith("["):
            found = TABLE.match(line)
            yield Statement(lines[first], first + 1, _keys(found[1] if found else ""), is_header=True)
        else:
            while not _is_whole("".join(lines[first:number])) and number < len(lines):
                number += 1
            found = ASSIGNMENT.match(line)
            yield Statement("".join(lines[first:number]), first + 1, _keys(found[1] if found else ""))


def _keys(dotted: str) -> tuple[str, ...]:
    return tuple(key.strip("\"'") for key in KEY.findall(dotted))


def _is_whole(text: str) -> bool:
    try:
        tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        return False
    return True


def _comment(text: str) -> str:
    """Return the comment at the end of an assignment with the spaces before it; an empty text if there is none."""
    body = text.rstrip("\r\n")
    for place, letter in enumerate(body):
        if letter == "#" and _is_whole(body[:place]):
            value = body[:place].rstrip()
            return body[len(value) :]
    return ""
