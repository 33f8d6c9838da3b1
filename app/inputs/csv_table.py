"""A CSV or TSV as a table: its columns, each with the way in which its fields become values."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import BinaryIO, cast

from metroline.app.inputs.csv_files import Row, csv_rows
from metroline.app.inputs.csv_numbers import note_of, number_of, number_or_text_of, sorted_columns, text_of
from metroline.app.inputs.row_files import Reading, RowFile, UnreadableRecords, opened
from metroline.routing.spelling import suggestion

Convert = Callable[[str], object]

MEMORY_BYTES = 16 * 1024 * 1024
"""Bytes of the standard input that are kept in memory while its columns are looked at; more go to a temporary file."""


@dataclass(frozen=True, slots=True)
class CsvTable:
    """The header of a table, and its rows."""

    line: int
    """The line of the header."""
    names: list[str]
    converts: list[Convert]
    """For each column, the function that makes a value of a field."""
    rows: Iterator[Row]


@contextmanager
def csv_table(source: RowFile, reading: Reading, key: str | None = None) -> Iterator[CsvTable]:
    """Yield the table in a file while the block runs; an empty file has no columns.

    A column holds numbers if each of its fields is one or is empty, so all of the file is read once before the first
    row is yielded, unless the fields stay text. `reading.numbers` names columns of numbers beforehand. The caller takes
    the fields of the column `key` as they are, so no note is made of it.

    Raise `UnreadableRecords` if a column of `reading.numbers` is not there.
    """
    if reading.as_text:
        yield _table(source, source.content, reading, set(), str)
    elif source.can_be_opened_again:
        with opened(source.path, Reading(source.format, name=source.name)) as first:
            numbers = _numbers(source, first.content, reading, key)
        yield _table(source, source.content, reading, numbers, text_of)
    else:
        with tempfile.SpooledTemporaryFile(MEMORY_BYTES) as copy:
            content = cast("BinaryIO", copy)
            shutil.copyfileobj(source.content, content)
            content.seek(0)
            numbers = _numbers(source, content, reading, key)
            content.seek(0)
            yield _table(source, content, reading, numbers, text_of)


def _numbers(source: RowFile, content: BinaryIO, reading: Reading, key: str | None) -> set[int]:
    """Return the columns whose fields are all numbers, by their index, and say which ones are nearly so."""
    rows = csv_rows(content, source.name, source.format, reading.delimiter)
    _, names = next(rows)
    columns = sorted_columns(rows, len(names))
    for column in [column for column in columns.codes if names[column] in (*reading.numbers, key)]:
        del columns.codes[column]
    if (note := note_of(columns, names)) is not None:
        reading.note(f"{source.name}: {note}")
    return columns.numbers


def _table(source: RowFile, content: BinaryIO, reading: Reading, numbers: set[int], otherwise: Convert) -> CsvTable:
    rows = csv_rows(content, source.name, source.format, reading.delimiter)
    line, names = next(rows)
    for name in reading.numbers:
        if name not in names:
            there = f"there are {', '.join(names) or 'none'}{suggestion(name, names)}"
            raise UnreadableRecords(f"{source.name}:{line}: --numbers: there is no column {name!r}; {there}")
    converts = [
        number_or_text_of if name in reading.numbers else number_of if column in numbers else otherwise
        for column, name in enumerate(names)
    ]
    return CsvTable(line, names, converts, rows)
