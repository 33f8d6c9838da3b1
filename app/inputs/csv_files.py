"""Reads the rows of CSV and TSV, which have a header: finds the delimiter, and checks the length of each row."""

from __future__ import annotations

import csv
import io
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import chain, islice
from typing import Any, BinaryIO

from metroline.app.inputs.row_files import Format, UnclearFile, UnreadableRecords
from metroline.app.markup.numbers import counted

DELIMITERS = ",;\t|"
"""The characters that are looked for between the columns of a header."""

DEFAULT_DELIMITERS: dict[Format, str] = {"csv": ",", "tsv": "\t"}

NAMED = {"\t": "tab"}
"""The names of delimiters that nobody can write on a command line."""

NAMING = re.compile(r'sep=([^"\r\n])[\r\n]*')
"""The line in which Excel names the delimiter of a CSV, before its header."""

LOOKED_AT = 20
"""Lines that are looked at if the header can be separated in several ways."""

MAX_FIELD_CHARACTERS = 16 * 1024 * 1024
"""Characters of the longest field: more than a message takes, and little enough if a quote is never closed."""

Row = tuple[int, list[str]]
"""The line where a row begins, and its fields."""


def csv_rows(content: BinaryIO, name: str, format: Format, delimiter: str | None = None) -> Iterator[Row]:
    """Yield the header and the rows of a CSV or TSV as text; an empty file has a header without columns.

    Without a delimiter, that of a TSV is the tab, and that of a CSV is the one that a first line as Excel writes it,
    `sep=;`, names, or else found in its header.

    Raise `UnreadableRecords` for a row with more or fewer fields than the header and for a column name that occurs
    twice, and `UnclearFile` if several characters may be the delimiter.
    """
    csv.field_size_limit(MAX_FIELD_CHARACTERS)  # of all tables in this process; Python's own is 131,072
    with _as_text(content) as text:
        first = _first_line(text)
        if first and (named := NAMING.fullmatch(first[-1])) is not None:
            delimiter = delimiter or named[1]
            first[-1] = "\n"  # a blank line in its place, so that lines keep their numbers
        lines: Iterator[str] = chain(first, text)
        if delimiter is None and format == "csv":
            delimiter, lines = _found_delimiter(lines, name, first[-1:])
        yield from _checked_rows(lines, name, delimiter or DEFAULT_DELIMITERS[format])


@contextmanager
def _as_text(content: BinaryIO) -> Iterator[io.TextIOWrapper]:
    text = io.TextIOWrapper(content, "utf-8-sig", newline="")
    try:
        yield text
    finally:
        if not content.closed:
            text.detach()  # whoever opened the content closes it


def _first_line(text: Iterator[str]) -> list[str]:
    """Return the first line that is not blank, after those before it."""
    read: list[str] = []
    for line in text:
        read.append(line)
        if line.strip():
            break
    return read


def _found_delimiter(lines: Iterator[str], name: str, header: list[str]) -> tuple[str, Iterator[str]]:
    """Return the delimiter of a CSV, and its lines."""
    possible = [one for one in DELIMITERS if _counts(header, one)[:1] > [1]]
    if len(possible) < 2:
        return (possible or [DEFAULT_DELIMITERS["csv"]])[0], lines
    sample = list(islice(lines, LOOKED_AT))
    fitting = [one for one in possible if _is_even(_counts(sample, one), is_cut=len(sample) == LOOKED_AT)]
    if len(fitting) != 1:
        raise UnclearFile(_unclear(name, fitting or possible))
    return fitting[0], chain(sample, lines)


def _counts(lines: Iterable[str], delimiter: str) -> list[int]:
    """Return the number of fields in each row that is not blank; none if the rows cannot be read."""
    try:
        return [len(row) for row in csv.reader(lines, delimiter=delimiter) if row]
    except csv.Error:
        return []


def _is_even(counts: list[int], *, is_cut: bool) -> bool:
    """Return whether there are rows, as long as the header; of a sample that `is_cut`, the last row does not count."""
    whole = counts[:-1] if is_cut else counts
    return len(whole) > 1 and len(set(whole)) == 1


def _unclear(name: str, possible: Iterable[str]) -> str:
    written = [NAMED.get(one, f"'{one}'") for one in possible]
    return f"{name}: its columns may be separated in several ways: write --delimiter {' or --delimiter '.join(written)}"


def _checked_rows(lines: Iterable[str], name: str, delimiter: str) -> Iterator[Row]:
    rows = _not_blank(csv.reader(lines, delimiter=delimiter, strict=True), name)
    line, names = next(rows, (0, []))
    if len(names) == 1 and (others := [one for one in DELIMITERS if one in names[0] and one != delimiter]):
        raise UnreadableRecords(f"{name}:{line}: {_one_column(names[0], others[0])}")
    for column, times in Counter(names).items():
        if times > 1:
            which = repr(column) if column else "without a name"
            raise UnreadableRecords(f"{name}:{line}: there are {times} columns {which}")
    yield line, names
    for line, row in rows:
        if len(row) != len(names):
            fields, columns = counted(len(row), "field"), counted(len(names), "column")
            raise UnreadableRecords(f"{name}:{line}: {fields}, but the header names {columns}")
        yield line, row


def _one_column(header: str, found: str) -> str:
    """Return what to do about a header that has another character where a delimiter is expected."""
    written = NAMED.get(found, f"'{found}'")
    return f"the header {header!r} is one column: if {written} separates its columns, write --delimiter {written}"


def _not_blank(rows: Any, name: str) -> Iterator[Row]:
    """Yield the rows of a `csv.reader`, each with the line where it begins.

    An error, such as a quote that is never closed, names the line where its row begins.
    """
    begun = 1
    try:
        for row in rows:
            if row:
                yield begun, row
            begun = rows.line_num + 1
    except csv.Error as error:
        raise UnreadableRecords(f"{name}:{begun}: {error}") from error
