"""Rows of a user's file: JSON lines, or CSV with commas and a header; either may be gzipped."""

from __future__ import annotations

import csv
import gzip
import io
import re
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, cast

from metroline.app.markup.numbers import counted
from metroline.routing.errors import MetrolineError

NUMBER = re.compile(r"(?!-0\Z)-?((0|[1-9][0-9]*)(\.[0-9]*)?|\.[0-9]+)([eE][+-][0-9]+)?")
OTHER_SEPARATOR = re.compile(r"[;\t|]")


class UnreadableRecords(MetrolineError):
    """Raised when a file of records cannot be read."""


@dataclass(frozen=True, slots=True)
class RowFile:
    """An open file of rows."""

    file: Path
    raw: BinaryIO
    content: BinaryIO
    """The content, decompressed."""
    is_csv: bool

    def done(self) -> int:
        """Return the number of bytes of the file that were read so far; 0 for a pipe."""
        return self.raw.tell() if self.raw.seekable() else 0


@contextmanager
def opened(file: Path) -> Iterator[RowFile]:
    """Open a file while the block runs. Raise `UnreadableRecords` if reading it fails in the block."""
    packed = file.suffix == ".gz"
    kind = Path(file.stem).suffix if packed else file.suffix
    try:
        with file.open("rb") as raw, gzip.GzipFile(fileobj=raw) if packed else raw as content:
            yield RowFile(file, raw, cast("BinaryIO", content), kind.lower() == ".csv")
    except (OSError, EOFError, UnicodeDecodeError, zlib.error) as error:
        raise UnreadableRecords(f"{file} cannot be read: {error}") from error


def json_lines(source: RowFile) -> Iterator[tuple[int, bytes]]:
    """Yield the lines that are not blank, with their numbers."""
    for number, line in enumerate(source.content, start=1):
        if line.strip():
            yield number, line.rstrip(b"\r\n")


def csv_rows(source: RowFile) -> Iterator[tuple[int, list[str]]]:
    """Yield the header and the rows of a CSV as text, each with the line where it begins.

    Raise `UnreadableRecords` for a row with more or fewer fields than the header, and for a column name that occurs
    twice.
    """
    with io.TextIOWrapper(source.content, "utf-8-sig", newline="") as text:
        yield from _rows(text, source.file)


def _rows(text: Iterable[str], file: Path) -> Iterator[tuple[int, list[str]]]:
    rows = _not_blank(csv.reader(text, strict=True), file)
    line, names = next(rows, (0, []))
    if len(names) == 1 and (found := OTHER_SEPARATOR.search(names[0])):
        raise UnreadableRecords(
            f"{file}:{line}: the header {names[0]!r} is one column: separate columns with commas, not with "
            f"{found.group()!r}"
        )
    if twice := next((name for name, times in Counter(names).items() if times > 1), None):
        raise UnreadableRecords(f"{file}:{line}: there are {names.count(twice)} columns {twice!r}")
    yield line, names
    for line, row in rows:
        if len(row) != len(names):
            fields, columns = counted(len(row), "field"), counted(len(names), "column")
            raise UnreadableRecords(f"{file}:{line}: {fields}, but the header names {columns}")
        yield line, row


def _not_blank(rows: Any, file: Path) -> Iterator[tuple[int, list[str]]]:
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
        raise UnreadableRecords(f"{file}:{begun}: {error}") from error


def value_of(text: str) -> object:
    """Return a CSV field as a JSON value: null if it is empty, a number if it is written as one, otherwise text.

    A number has no leading zeros and at most 64 bits, and its exponent has a sign, as programs write it. Codes such as
    007 and 12e4 stay text.
    """
    if text == "":
        return None
    if not (text[0].isdigit() or text[0] in "-."):
        return text  # most fields are text, and matching is slow
    if NUMBER.fullmatch(text) is None:
        return text
    number = int(text) if text.lstrip("-").isdigit() else float(text)
    return number if abs(number) < 2**63 else text
