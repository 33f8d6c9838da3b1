"""Finds the columns of a CSV or TSV that hold numbers, and reads their fields as such."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from decimal import Decimal

from metroline.app.inputs.csv_files import Row

NUMBER = re.compile(r"(?!-0\Z)-?((0|[1-9][0-9]*)(\.0|\.[0-9]*[1-9])?|\.[0-9]*[1-9])([eE][+-][0-9]+)?")
"""A number as programs write it: no zeros that could be left out, apart from `.0`, and an exponent with a sign."""

NUMBER_LIKE = re.compile(r"[-+]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][-+]?[0-9]+)?")
"""Whatever can be read as a number, codes such as 007 included."""

EXACT_DIGITS = 15
"""Significant digits that a float (IEEE 754, binary64) always keeps."""

MAX_INTEGER = 2**63

SHOWN = 3
"""Columns that a note names."""


def is_number(text: str) -> bool:
    """Return whether a field is a number that keeps its meaning and its digits when it is read as one.

    `1.10`, `007`, `+5`, `12e4`, an integer beyond 64 bits and a fraction with more digits than a float keeps are none.
    """
    if text.isascii() and text.isdigit():  # most numbers are digits alone, and matching is slow
        return (text[0] != "0" or text == "0") and int(text) < MAX_INTEGER
    if NUMBER.fullmatch(text) is None:
        return False
    if text.lstrip("-").isdigit():
        return int(text) > -MAX_INTEGER
    return len(text) <= EXACT_DIGITS or Decimal(text) == Decimal(repr(float(text)))


def number_of(text: str) -> object:
    """Return a field that is a number as `is_number` has it, or empty: then it is null."""
    if text == "":
        return None
    return int(text) if text.lstrip("-").isdigit() else float(text)


def number_or_text_of(text: str) -> object:
    """Return a field of a column that is to be read as numbers; what cannot be read as one at all is text."""
    if text == "":
        return None
    if NUMBER_LIKE.fullmatch(text) is None:
        return text
    digits = text.lstrip("+-")
    number = int(text) if digits.isdigit() else float(text)
    return number if abs(number) < MAX_INTEGER else text


def text_of(text: str) -> object:
    """Return a field of a column of text: null if it is empty."""
    return text or None


@dataclass(slots=True)
class Columns:
    """The columns of a table, sorted by what their fields look like."""

    numbers: set[int]
    """Columns of which every field is empty or a number."""
    codes: dict[int, Row] = field(default_factory=dict)
    """Columns of which every field looks like a number, with the line and the text of one that is none."""


def sorted_columns(rows: Iterable[Row], width: int) -> Columns:
    """Return what the columns of all rows hold."""
    columns = Columns(set(range(width)))
    possible = list(range(width))
    for line, row in rows:
        for column in possible:
            if (text := row[column]) and not is_number(text):
                possible = _without(possible, columns, column, line, text)
    return columns


def _without(possible: list[int], columns: Columns, column: int, line: int, text: str) -> list[int]:
    """Note a field that is no number; return the columns that are still to be looked at."""
    columns.numbers.discard(column)
    if NUMBER_LIKE.fullmatch(text) is not None:
        columns.codes.setdefault(column, (line, [text]))
        return possible
    columns.codes.pop(column, None)
    return [one for one in possible if one != column]


def note_of(columns: Columns, names: Sequence[str]) -> str | None:
    """Return a note about columns that look like numbers and stay text; None if there are none."""
    if not columns.codes:
        return None
    told = [f"{names[column]} ({row[0]!r} in line {line})" for column, (line, row) in sorted(columns.codes.items())]
    more = f" and {len(told) - SHOWN} more" if len(told) > SHOWN else ""
    first = names[min(columns.codes)]
    return (
        f"text, since as numbers they would not stay as they are written: {', '.join(told[:SHOWN])}{more}; "
        f"--numbers {first} reads a column as numbers"
    )
