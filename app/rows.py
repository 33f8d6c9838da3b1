"""The rows of a file that a user has: JSON lines, or CSV with commas and a header; also .gz."""

from __future__ import annotations

import csv
import gzip
import io
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, cast

from routing.errors import MetrolineError

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
        """How many bytes of the file were read so far."""
        return self.raw.tell()


@contextmanager
def opened(file: Path) -> Iterator[Source]:
    """The file, for as long as the block runs; raises `UnreadableRecords` for what goes wrong with it in there."""
    packed = file.suffix == ".gz"
    kind = Path(file.stem).suffix if packed else file.suffix
    try:
        with file.open("rb") as raw, gzip.GzipFile(fileobj=raw) if packed else raw as content:
            yield Source(file, raw, cast("BinaryIO", content), kind.lower() == ".csv")
    except (OSError, EOFError, UnicodeDecodeError, csv.Error) as error:
        raise UnreadableRecords(f"{file} cannot be read: {error}") from error


def json_lines(source: Source) -> Iterator[tuple[int, bytes]]:
    """The lines that are not blank, with their numbers."""
    for number, line in enumerate(source.content, start=1):
        if line.strip():
            yield number, line.rstrip(b"\r\n")


def csv_rows(source: Source) -> Iterator[tuple[int, list[str]]]:
    """The header and the rows of a CSV, as text, with the line where each begins.

    Raises `UnreadableRecords` for one with more or fewer fields than the header.
    """
    with io.TextIOWrapper(source.content, "utf-8-sig", newline="") as text:
        yield from _rows(text, source.file)


def _rows(text: Iterable[str], file: Path) -> Iterator[tuple[int, list[str]]]:
    rows = csv.reader(text)
    names = next((row for row in rows if row), [])
    if len(names) == 1 and (found := OTHER_SEPARATOR.search(names[0])):
        raise UnreadableRecords(
            f"{file}:{rows.line_num}: the header {names[0]!r} is one column: separate columns with commas, not with "
            f"{found.group()!r}"
        )
    yield rows.line_num, names
    begun = rows.line_num + 1
    for row in rows:
        if row and len(row) != len(names):
            fields, columns = _counted(len(row), "field"), _counted(len(names), "column")
            raise UnreadableRecords(f"{file}:{begun}: {fields}, but the header names {columns}")
        if row:
            yield begun, row
        begun = rows.line_num + 1


def _counted(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


def value_of(text: str) -> object:
    """A CSV field as JSON: empty is null, a number is a number, anything else is text."""
    if text == "":
        return None
    if not (text[0].isdigit() or text[0] in "-."):
        return text  # most are, and trying is slow
    if text.strip() == text:
        for kind in (int, float):
            try:
                number = kind(text)
            except ValueError:
                continue
            return number if _is_plain(text, number) else text
    return text


def _is_plain(text: str, number: float) -> bool:
    """Whether nothing is lost by reading a text as a number: no leading zeros, no `nan`, nothing beyond 64 bits."""
    digits = text.lstrip("-")
    padded = len(digits) > 1 and digits[0] == "0" and digits[1] != "."
    return not padded and "_" not in text and text[0] != "+" and abs(number) < 2**63
