"""Opens users' files and reads the rows of CSV and TSV, which have a header. Any file may be gzipped."""

from __future__ import annotations

import csv
import gzip
import io
import re
import sys
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Literal, cast

from metroline.app.markup.numbers import counted
from metroline.routing.errors import MetrolineError

NUMBER = re.compile(r"(?!-0\Z)-?((0|[1-9][0-9]*)(\.[0-9]*)?|\.[0-9]+)([eE][+-][0-9]+)?")
OTHER_SEPARATORS = re.compile(r"[;\t|,]")

Format = Literal["json", "csv", "tsv"]
"""The format of a file."""

SEPARATORS: dict[Format, str] = {"csv": ",", "tsv": "\t"}
"""The character between two columns; JSON has none."""

STANDARD_INPUT = Path("-")


class UnreadableRecords(MetrolineError):
    """Raised when a file of records cannot be read."""


@dataclass(frozen=True, slots=True)
class RowFile:
    """An open file of rows."""

    name: str
    """The name of the file, for messages."""
    raw: BinaryIO
    content: BinaryIO
    """The content, decompressed."""
    separator: str | None
    """The character between two columns; None for JSON."""

    def done(self) -> int:
        """Return the number of bytes of the file that were read so far; 0 for a pipe."""
        return self.raw.tell() if self.raw.seekable() else 0


@contextmanager
def opened(file: Path, format: Format | None = None) -> Iterator[RowFile]:
    """Open a file while the block runs; `-` is the standard input.

    The format follows from the ending of the file's name unless it is given: .csv and .tsv, and JSON for all others.
    Raise `UnreadableRecords` if reading it fails in the block.
    """
    name = "the standard input" if file == STANDARD_INPUT else str(file)
    try:
        with _raw(file) as raw, gzip.GzipFile(fileobj=raw) if file.suffix == ".gz" else nullcontext(raw) as content:
            separator = SEPARATORS.get(format or _format_of(file))
            yield RowFile(name, raw, cast("BinaryIO", content), separator)
    except (OSError, EOFError, UnicodeDecodeError, zlib.error) as error:
        raise UnreadableRecords(f"{name} cannot be read: {error}") from error


def _raw(file: Path) -> AbstractContextManager[BinaryIO]:
    return nullcontext(sys.stdin.buffer) if file == STANDARD_INPUT else file.open("rb")


def _format_of(file: Path) -> Format:
    suffix = (Path(file.stem).suffix if file.suffix == ".gz" else file.suffix).lower()
    return "csv" if suffix == ".csv" else "tsv" if suffix == ".tsv" else "json"


def csv_rows(source: RowFile) -> Iterator[tuple[int, list[str]]]:
    """Yield the header and the rows of a CSV or TSV as text, each with the line where it begins.

    Raise `UnreadableRecords` for a row with more or fewer fields than the header, and for a column name that occurs
    twice.
    """
    with io.TextIOWrapper(source.content, "utf-8-sig", newline="") as text:
        yield from _rows(text, source.name, source.separator or ",")


def _rows(text: Iterable[str], file: str, separator: str) -> Iterator[tuple[int, list[str]]]:
    rows = _not_blank(csv.reader(text, delimiter=separator, strict=True), file)
    line, names = next(rows, (0, []))
    others = [found for found in OTHER_SEPARATORS.findall("".join(names)) if found != separator]
    if len(names) == 1 and others:
        raise UnreadableRecords(f"{file}:{line}: {_one_column(names[0], separator, others[0])}")
    if twice := next((name for name, times in Counter(names).items() if times > 1), None):
        raise UnreadableRecords(f"{file}:{line}: there are {names.count(twice)} columns {twice!r}")
    yield line, names
    for line, row in rows:
        if len(row) != len(names):
            fields, columns = counted(len(row), "field"), counted(len(names), "column")
            raise UnreadableRecords(f"{file}:{line}: {fields}, but the header names {columns}")
        yield line, row


def _one_column(header: str, separator: str, found: str) -> str:
    """Return what to do about a header that has another character where a separator is expected."""
    for format, used in SEPARATORS.items():
        if used == found:
            return f"the header {header!r} is one column: is it {format.upper()}? Then use --format {format}"
    wanted = "tabs" if separator == SEPARATORS["tsv"] else "commas"
    return f"the header {header!r} is one column: separate columns with {wanted}, not with {found!r}"


def _not_blank(rows: Any, file: str) -> Iterator[tuple[int, list[str]]]:
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
