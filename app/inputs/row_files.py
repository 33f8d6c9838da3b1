"""Opens users' files, whatever tools have written them: finds their format and decompresses them."""

from __future__ import annotations

import io
import sys
import zlib
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Literal, cast

from metroline.app.inputs.compressed_files import COMPRESSED_SUFFIXES, decompressed
from metroline.app.markup.text import shorten
from metroline.routing.errors import MetrolineError, UsageError

Format = Literal["json", "csv", "tsv", "parquet"]
"""The format of a file."""

SUFFIXES: dict[str, Format] = {
    ".json": "json",
    ".jsonl": "json",
    ".ndjson": "json",
    ".csv": "csv",
    ".tsv": "tsv",
    ".tab": "tsv",
    ".parquet": "parquet",
    ".pq": "parquet",
}
"""The formats that the ending of a file's name says."""

STANDARD_INPUT = Path("-")

BOM = b"\xef\xbb\xbf"

NOT_READ = {
    b"\xff\xfe": "it is UTF-16: convert it, as with `iconv -f UTF-16 -t UTF-8`",
    b"\xfe\xff": "it is UTF-16: convert it, as with `iconv -f UTF-16 -t UTF-8`",
    b"PK\x03\x04": "it is a ZIP archive, as Excel workbooks are: unpack it, or save the sheet as CSV",
    b"BZh": "it is compressed by bzip2: decompress it, as with `bunzip2`",
    b"\xfd7zXZ": "it is compressed by xz: decompress it, as with `unxz`",
}
"""Files that are not read, by their first bytes, and what to do about them."""

PARQUET_MAGIC = b"PAR1"
PEEKED_BYTES = 512
SHOWN_COLUMNS = 60
"""Terminal columns of a line that are shown."""


class UnreadableRecords(MetrolineError):
    """Raised when a file of records cannot be read."""


class UnclearFile(UsageError):
    """Raised when a file can be read in several ways and it is not said which one is meant."""


def no_note(note: str) -> None:
    """Say nothing about how a file was read."""


@dataclass(frozen=True, slots=True)
class Reading:
    """The way in which a file of records is read."""

    format: Format | None = None
    """The format of the file; None if its name or its content says it."""
    as_text: bool = False
    """True if the fields of a CSV or TSV stay text, apart from those of `numbers`."""
    delimiter: str | None = None
    """The character between two columns of a CSV or TSV; None to find it in the header."""
    numbers: tuple[str, ...] = ()
    """The columns of a CSV or TSV that hold numbers, however these are written."""
    takes_any_line: bool = False
    """True if lines that are not JSON are wanted as well, of a file whose name does not say its format."""
    name: str | None = None
    """The name of the file for messages; None for that of its path."""
    note: Callable[[str], None] = no_note
    """Takes a note about how the file was read, such as columns that stay text."""


DEFAULT_READING = Reading()


@dataclass(frozen=True, slots=True)
class RowFile:
    """An open file of rows."""

    name: str
    """The name of the file, for messages."""
    raw: BinaryIO
    content: BinaryIO
    """The content, decompressed."""
    format: Format
    path: Path = STANDARD_INPUT

    def done(self) -> int:
        """Return the number of bytes of the file that were read so far; 0 for a pipe."""
        return self.raw.tell() if self.raw.seekable() else 0

    @property
    def is_table(self) -> bool:
        """True for CSV and TSV, whose fields are text in columns."""
        return self.format in ("csv", "tsv")

    @property
    def can_be_opened_again(self) -> bool:
        """True for a file, and False for a pipe and for the standard input."""
        return self.path != STANDARD_INPUT and self.path.is_file()


@contextmanager
def opened(file: Path, reading: Reading = DEFAULT_READING) -> Iterator[RowFile]:
    """Open a file while the block runs; `-` is the standard input.

    A file that begins as gzip or Zstandard does is decompressed. The format is that of `reading`, or else the one that
    the ending of the name says, or else the content: JSON begins with a bracket, and Parquet with `PAR1`.

    Raise `UnclearFile` if it is none of these, and `UnreadableRecords` if reading fails in the block.
    """
    name = reading.name or name_of(file)
    try:
        with raw_file(file) as raw, decompressed(raw, file, name) as content:
            format = _format(file, name, content, reading)
            _refuse_idle_options(format, name, reading)
            yield RowFile(name, raw, content, format, file)
    except UnicodeDecodeError as error:
        raise UnreadableRecords(
            f"{name} is not UTF-8 (byte 0x{error.object[error.start]:02x}): convert it, as with "
            "`iconv -f WINDOWS-1252 -t UTF-8`"
        ) from error
    except (OSError, EOFError, zlib.error) as error:
        raise UnreadableRecords(f"{name} cannot be read: {error}") from error


def name_of(file: Path) -> str:
    """Return the name of a file for messages."""
    return "the standard input" if file == STANDARD_INPUT else str(file)


def is_readable(file: Path) -> bool:
    """Return whether there is a file or a pipe of this name, or the standard input is meant."""
    return file == STANDARD_INPUT or (file.exists() and not file.is_dir())


def format_by_name(file: Path) -> Format | None:
    """Return the format that the ending of a file's name says."""
    suffix = file.suffix.lower()
    return SUFFIXES.get(Path(file.stem).suffix.lower() if suffix in COMPRESSED_SUFFIXES else suffix)


def raw_file(file: Path) -> AbstractContextManager[io.BufferedReader]:
    """Open a file as it is, for as long as a block runs; the standard input stays open."""
    if file == STANDARD_INPUT:
        return nullcontext(_peekable(sys.stdin.buffer))
    return file.open("rb")


def _peekable(stream: BinaryIO) -> io.BufferedReader:
    """Return a stream at whose begin one can look; the standard input of a program that runs another may be none."""
    return stream if isinstance(stream, io.BufferedReader) else io.BufferedReader(cast("io.RawIOBase", stream))


def _format(file: Path, name: str, content: io.BufferedReader, reading: Reading) -> Format:
    begin = content.peek(PEEKED_BYTES)[:PEEKED_BYTES]
    for magic, problem in NOT_READ.items():
        if begin.startswith(magic):
            raise UnreadableRecords(f"{name} cannot be read: {problem}")
    return reading.format or format_by_name(file) or _format_of_content(name, begin, reading)


def _refuse_idle_options(format: Format, name: str, reading: Reading) -> None:
    """Raise `UnclearFile` if options for tables of text are given for another file."""
    if format in ("json", "parquet") and (reading.delimiter or reading.numbers or reading.as_text):
        raise UnclearFile(
            f"{name} is read as {format}, and --delimiter, --numbers and --text are for CSV and TSV: leave them out, "
            "or write --format csv or tsv"
        )


def _format_of_content(name: str, begin: bytes, reading: Reading) -> Format:
    if begin.startswith(PARQUET_MAGIC):
        return "parquet"
    if reading.delimiter is not None:
        return "csv"
    text = begin.removeprefix(BOM).lstrip()
    if not text or text[:1] in b"{[" or reading.takes_any_line:
        return "json"
    line = shorten(text.splitlines()[0].decode(errors="replace"), SHOWN_COLUMNS)
    raise UnclearFile(
        f"{name}: its first line is not JSON: {line!r}; write --format csv or tsv, or --format json to take each line "
        "as it is"
    )
