"""The rows of a file that a user has: JSON lines, or CSV with commas and a header; also .gz."""

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

from metroline.routing.errors import MetrolineError

NUMBER = re.compile(r"(?!-0\Z)-?((0|[1-9][0-9]*)(\.[0-9]*)?|\.[0-9]+)([eE][+-][0-9]+)?")
OTHER_SEPARATOR = re.compile(r"[;\t|]")


class UnreadableRecords(MetrolineError):
    """Raised when a file of records cannot be read."""


@dataclass(frozen=True, slots=True)
class Source:
    """An open file of rows."""

    file: Path
    raw: BinaryIO
    content: BinaryIO
    """What is in it, unpacked."""
    is_csv: bool

    def done(self) -> int:
        """How many bytes of the file were read so far; 0 if it is a pipe."""
        return self.raw.tell() if self.raw.seekable() else 0


@contextmanager
def opened(file: Path) -> Iterator[Source]:
    """The file, for as long as the block runs; raises `UnreadableRecords` for what goes wrong with it in there."""
    packed = file.suffix == ".gz"
    kind = Path(file.stem).suffix if packed else file.suffix
    try:
        with file.open("rb") as raw, gzip.GzipFile(fileobj=raw) if packed else raw as content:
            yield Source(file, raw, cast("BinaryIO", content), kind.lower() == ".csv")
    except (OSError, EOFError, UnicodeDecodeError, zlib.error) as error:
        raise UnreadableRecords(f"{file} cannot be read: {error}") from error


def json_lines(source: Source) -> Iterator[tuple[int, bytes]]:
    """The lines that are not blank, with their numbers."""
    for number, line in enumerate(source.content, start=1):
        if line.strip():
            yield number, line.rstrip(b"\r\n")


def csv_rows(source: Source) -> Iterator[tuple[int, list[str]]]:
    """The header and the rows of a CSV, as text, with the line where each begins.

    Raises `UnreadableRecords` for one with more or fewer fields than the header, and for two columns of one name.
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
            fields, columns = _counted(len(row), "field"), _counted(len(names), "column")
            raise UnreadableRecords(f"{file}:{line}: {fields}, but the header names {columns}")
        yield line, row


def _not_blank(rows: Any, file: Path) -> Iterator[tuple[int, list[str]]]:
    """What a `csv.reader` gives, with the line where each row begins: a quote that is never closed is told by it."""
    begun = 1
    try:
        for row in rows:
            if row:
                yield begun, row
            begun = rows.line_num + 1
    except csv.Error as error:
        raise UnreadableRecords(f"{file}:{begun}: {error}") from error


def _counted(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


def value_of(text: str) -> object:
    """A CSV field as JSON: empty is null, a number is a number, anything else is text.

    A number has no leading zeros, no more than 64 bits, and an exponent only with its sign, as programs write it: codes
    such as 007 and 12e4 are text.
    """
    if text == "":
        return None
    if not (text[0].isdigit() or text[0] in "-."):
        return text  # most are, and trying is slow
    if NUMBER.fullmatch(text) is None:
        return text
    number = int(text) if text.lstrip("-").isdigit() else float(text)
    return number if abs(number) < 2**63 else text
