"""The records that `--records` names, from a file or made by the line itself, as source messages."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path

import orjson

from metroline.agents.services.line import Line
from metroline.agents.services.own_records import invalid_records
from metroline.app.inputs.csv_table import csv_table
from metroline.app.inputs.json_values import json_values
from metroline.app.inputs.parquet_files import parquet_values
from metroline.app.inputs.row_files import (
    DEFAULT_READING,
    Reading,
    RowFile,
    UnreadableRecords,
    is_readable,
    name_of,
    opened,
    raw_file,
)
from metroline.routing.errors import UsageError
from metroline.routing.records.source_messages import read_message

SHOWN_CHARACTERS = 60
"""Maximum number of characters of a line that are shown."""


class NoRecords(UsageError):
    """Raised when `--records` names neither a number nor a file."""


@dataclass(slots=True)
class UnfitLines:
    """Finds the lines of a file that are no records, and would become dead letters."""

    lines: int = 0
    """Number of lines that were looked at; blank lines are not among them."""
    unfit: int = 0
    first: str = ""
    """The first line that is no record: its number, from 1 on, its text, and the reason."""

    def look_at(self, number: int, line: bytes) -> None:
        """Note whether the line with this number is a record."""
        self.lines += 1
        problem = read_message(line)[0].problem
        if problem is not None:
            self.unfit += 1
            self.first = self.first or f"line {number}, {_shown(line)}: {problem}"

    def describe(self) -> str:
        """Return how many lines are no records, with the first of them."""
        lines = f"{self.unfit} of {self.lines} lines {'is no record' if self.unfit == 1 else 'are no records'}"
        return f"{lines} (a record is a JSON object in one line); the first is {self.first}"


def _shown(line: bytes) -> str:
    text = line.decode(errors="replace")
    return repr(text if len(text) <= SHOWN_CHARACTERS else text[: SHOWN_CHARACTERS - 3] + "...")


def check_records(what: str) -> None:
    """Raise `NoRecords` unless `--records` names a number, a file, a pipe, or the standard input."""
    if not is_number(what) and not is_readable(Path(what)):
        raise NoRecords(f"--records {what}: neither a number nor a file")


@contextmanager
def readable_again(what: str, reading: Reading) -> Iterator[tuple[str, Reading]]:
    """Yield what `--records` names, and how to read it, any number of times while the block runs.

    A pipe is copied to a file, which messages call as the pipe.
    """
    if is_number(what) or Path(what).is_file():
        yield what, reading
        return
    with tempfile.TemporaryDirectory(prefix="metroline-") as folder:
        copy = Path(folder) / f"records{''.join(Path(what).suffixes)}"
        with raw_file(Path(what)) as pipe, copy.open("wb") as file:
            shutil.copyfileobj(pipe, file)
        yield str(copy), replace(reading, name=name_of(Path(what)))


def records_of(
    what: str,
    line: Line,
    seed: int = 1,
    looked: UnfitLines | None = None,
    reading: Reading = DEFAULT_READING,
) -> Iterator[bytes]:
    """Return the records that `--records` names: a number of the line's own, or those in a file, one per message.

    Each value of a JSON file is shown to `looked` before it is returned.
    """
    check_records(what)
    return _made(line, int(what), seed) if is_number(what) else _looked_at(records_in(Path(what), reading), looked)


def records_in(file: Path, reading: Reading = DEFAULT_READING) -> Iterator[tuple[int, bytes]]:
    """Yield the records in a file, each in one line of JSON and with the number of the line where it begins.

    Values of a JSON file are yielded also if they are no records; the rows of a Parquet file count as lines.

    Raise `UnreadableRecords` if the file cannot be read, and `UnclearFile` if it can be read in several ways.
    """
    with opened(file, reading) as source:
        yield from _rows_of_table(source, reading) if source.is_table else values_in(source)


def values_in(source: RowFile) -> Iterator[tuple[int, bytes]]:
    """Yield the values of an open file that is no table of text, each in one line of JSON and with its number."""
    return parquet_values(source) if source.format == "parquet" else json_values(source)


def _rows_of_table(source: RowFile, reading: Reading) -> Iterator[tuple[int, bytes]]:
    with csv_table(source, reading) as table:
        for number, row in table.rows:
            values = [convert(field) for convert, field in zip(table.converts, row, strict=True)]
            yield number, orjson.dumps(dict(zip(table.names, values, strict=True)))


def _looked_at(records: Iterator[tuple[int, bytes]], looked: UnfitLines | None) -> Iterator[bytes]:
    for number, record in records:
        if looked is not None:
            looked.look_at(number, record)
        yield record


def is_number(what: str) -> bool:
    """Return whether `--records` names a number of the line's own records."""
    return what.replace("_", "").isdigit()


def _made(line: Line, count: int, seed: int) -> Iterator[bytes]:
    for number, record in enumerate(line.records(count, seed), 1):
        try:
            yield record if isinstance(record, bytes) else orjson.dumps(record)
        except orjson.JSONEncodeError as error:
            raise invalid_records(line.name, f"record {number} does not fit into JSON: {error}") from error


def batched(records: Iterable[bytes], size: int) -> Iterator[list[bytes]]:
    """Yield lists of `size` records; the last list may be shorter."""
    left = iter(records)
    while chunk := list(islice(left, size)):
        yield chunk


def packed(records: Iterable[bytes], pack: int) -> Iterator[tuple[bytes, int]]:
    """Yield source messages of `pack` records, one per line, each with the number of its records."""
    for chunk in batched(records, pack):
        if pack > 1 and any(not record.strip() or b"\n" in record for record in chunk):
            raise UnreadableRecords("--pack: a record that is empty or has line breaks cannot share a message")
        yield b"\n".join(chunk), len(chunk)
