"""Finds the lines of tables and keys in a TOML text, since `tomllib` does not report them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache

KEY = re.compile(r"""[A-Za-z0-9_-]+|"[^"]*"|'[^']*'""")

DOTTED = rf"\s*(?:{KEY.pattern})(?:\s*\.\s*(?:{KEY.pattern}))*\s*"

TABLE = re.compile(rf"\s*\[\[?({DOTTED})\]")

ASSIGNMENT = re.compile(rf"({DOTTED})=")

PLAIN = re.compile(rf"\s*({KEY.pattern})\s*[.=]")

ON_TOP = re.compile(rf"\s*\[+\s*({KEY.pattern})\s*[\].]")
"""The header of a table, with the first part of its name."""

IN_RULES = re.compile(rf"\s*\[+\s*[\"']?rules[\"']?\s*\.\s*({KEY.pattern})\s*[\].]")
"""The header of a table within a rule, with the key of the rule."""

HEADER = re.compile(r"\s*\[\[\s*[\"']?rules[\"']?\s*\]\]")


TEXT_OR_COMMENT = re.compile(
    r"""\"{3}(?:\\.|[^\\])*?\"{3,5}|'{3}.*?'{3,5}|\"(?:\\.|[^\"\\\n])*\"|'[^'\n]*'|\#[^\n]*""", re.DOTALL
)


class TomlLines:
    """The line numbers, from 1 on, of the rules in a TOML text."""

    def __init__(self, text: str) -> None:
        self._lines = TEXT_OR_COMMENT.sub(_blanked, text).split("\n")
        self._headers = [number for number, line in enumerate(self._lines, 1) if HEADER.match(line)]
        self._places: dict[tuple[int, re.Pattern[str]], dict[str, int]] = {}

    def of(self, index: int, key: str | None = None) -> int:
        """Return the line of a rule or of one of its keys; 1 if the rules are not written as `[[rules]]`."""
        if index >= len(self._headers):
            return 1
        start = self._headers[index]
        end = self._headers[index + 1] - 1 if index + 1 < len(self._headers) else len(self._lines)
        return start if key is None else self._find(start + 1, end, key, IN_RULES) or start

    def of_key(self, key: str) -> int:
        """Return the line of a top-level key; 1 if it is not found."""
        return self._find(1, len(self._lines), key, ON_TOP) or 1

    def _find(self, start: int, end: int, key: str, headed: re.Pattern[str]) -> int | None:
        """Return the first line in a range that sets a key before any other table begins, or opens a table for it."""
        places = self._places.get((start, headed))
        if places is None:
            places = self._places[start, headed] = self._places_in(start, end, headed)
        return places.get(key)

    def _places_in(self, start: int, end: int, headed: re.Pattern[str]) -> dict[str, int]:
        """Return the lines of all keys in a range, in one pass: thousands of keys may be wrong."""
        places: dict[str, int] = {}
        own = True
        for number in range(start, end + 1):
            line = self._lines[number - 1]
            if found := headed.match(line) or (PLAIN.match(line) if own else None):
                places.setdefault(found.group(1).strip("\"'"), number)
            own = own and not line.lstrip().startswith("[")
        return places


def _blanked(found: re.Match[str]) -> str:
    """Return spaces in place of a comment or a multi-line string, so that nothing in it is taken for a rule."""
    text = found.group()
    return re.sub(r"[^\n]", " ", text) if text.startswith(("#", '"""', "'''")) else text


def line_of(text: str, path: Sequence[str]) -> int:
    """Return the line that sets the key at a path, as `("ends", "shipped", "topic")`, or opens the table there.

    If there is none, as in a table on one line, return the line of the longest part of the path that has one, or 1.
    """
    table: tuple[str, ...] = ()
    found, depth = 1, 0
    for number, line in enumerate(TEXT_OR_COMMENT.sub(_blanked, text).split("\n"), 1):
        if header := TABLE.match(line):
            table = opened = _keys(header.group(1))
        elif assigned := ASSIGNMENT.match(line):
            opened = (*table, *_keys(assigned.group(1)))
        else:
            continue
        common = _common(opened, path)
        if common > depth:
            found, depth = number, common
    return found


def place_in_value(text: str, begins: int, value: str, line: int, column: int) -> tuple[int, int | None]:
    """Return the line and column in a TOML text of a place in a value, whose key is set in the line `begins`.

    All count from 1. The column is None if the value is written with escapes, so that its text is not in the TOML.
    """
    parts = value.split("\n")
    rows = _rows(text)[begins - 1 : begins + len(parts)]
    for shift in (0, 1):  # a line break behind the opening quotes is not part of the value
        shown = rows[shift : shift + len(parts)]
        if len(shown) == len(parts) and all(part in row for part, row in zip(parts, shown, strict=True)):
            row = shown[line - 1]
            start = row.index("=") + 1 if shift == 0 and line == 1 and "=" in row else 0
            at = row.find(parts[line - 1], start)
            return begins + shift + line - 1, None if at < 0 else at + column
    return begins, None


@lru_cache(maxsize=1)
def _rows(text: str) -> list[str]:
    """Return the lines of a text; those of the last text are cached."""
    return text.split("\n")


def _keys(dotted: str) -> tuple[str, ...]:
    return tuple(key.strip("\"'") for key in KEY.findall(dotted))


def _common(one: Sequence[str], other: Sequence[str]) -> int:
    """Return the number of elements that both paths begin with."""
    return next((at for at, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other)))


def line_of_rule(text: str, index: int, key: str | None = None) -> int:
    """Return the line of the rule at an index, or of one of its keys."""
    return lines_of(text).of(index, key)


@lru_cache(maxsize=1)
def lines_of(text: str) -> TomlLines:
    """Return the line numbers of a text; those of the last text are cached."""
    return TomlLines(text)
