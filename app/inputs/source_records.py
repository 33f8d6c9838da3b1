"""The records that `--records` names, from a file or made by the line itself, as source messages."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import orjson

from metroline.agents.services.line import Line
from metroline.app.inputs.json_values import json_values
from metroline.app.inputs.row_files import STANDARD_INPUT, Format, UnreadableRecords, csv_rows, opened, value_of
from metroline.routing.errors import UsageError
from metroline.routing.records.source_messages import read_message

SHOWN_CHARACTERS = 60
"""Maximum number of characters of a line that are shown."""


class NoRecords(UsageError):
    """Raised when `--records` names neither a number nor a file."""


@dataclass(frozen=True, slots=True)
class Reading:
    """The way in which a file of records is read."""

    format: Format | None = None
    """The format of the file; None if its name says it."""
    as_text: bool = False
    """True if the fields of a CSV or TSV stay text, numbers included."""


DEFAULT_READING = Reading()


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
    """Raise `NoRecords` unless `--records` names a number, a file, or the standard input."""
    if not _is_number(what) and Path(what) != STANDARD_INPUT and not Path(what).is_file():
        raise NoRecords(f"--records {what}: neither a number nor a file")


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
    return _made(line, int(what), seed) if _is_number(what) else _looked_at(records_in(Path(what), reading), looked)


def records_in(file: Path, reading: Reading = DEFAULT_READING) -> Iterator[tuple[int, bytes]]:
    """Yield the records in a file, each in one line of JSON and with the number of the line where it begins.

    Values of a JSON file are yielded also if they are no records. Raise `UnreadableRecords` if the file cannot be read.
    """
    with opened(file, reading.format) as source:
        if source.separator is None:
            yield from json_values(source)
            return
        rows = csv_rows(source)
        _, names = next(rows)
        value = str if reading.as_text else value_of
        for number, row in rows:
            yield number, orjson.dumps(dict(zip(names, map(value, row), strict=True)))


def _looked_at(records: Iterator[tuple[int, bytes]], looked: UnfitLines | None) -> Iterator[bytes]:
    for number, record in records:
        if looked is not None:
            looked.look_at(number, record)
        yield record


def _is_number(what: str) -> bool:
    return what.replace("_", "").isdigit()


def _made(line: Line, count: int, seed: int) -> Iterator[bytes]:
    for record in line.records(count, seed):
        yield record if isinstance(record, bytes) else orjson.dumps(record)


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
