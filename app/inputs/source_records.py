"""The records that `--records` names, from a file or made by the line itself, as source messages."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path

import orjson

from metroline.agents.services.line import Line
from metroline.app.inputs.row_files import UnreadableRecords, csv_rows, json_lines, opened, value_of
from metroline.routing.errors import UsageError


class NoRecords(UsageError):
    """Raised when `--records` names neither a number nor a file."""


def check_records(what: str) -> None:
    """Raise `NoRecords` unless `--records` names a number or a file."""
    if not _is_number(what) and not Path(what).is_file():
        raise NoRecords(f"--records {what}: neither a number nor a file")


def records_of(what: str, line: Line, seed: int = 1) -> Iterator[bytes]:
    """Return the records that `--records` names: a number of the line's own, or those in a file, one per message."""
    check_records(what)
    return _made(line, int(what), seed) if _is_number(what) else _records_in(Path(what))


def _is_number(what: str) -> bool:
    return what.replace("_", "").isdigit()


def _made(line: Line, count: int, seed: int) -> Iterator[bytes]:
    for record in line.records(count, seed):
        yield record if isinstance(record, bytes) else orjson.dumps(record)


def _records_in(file: Path) -> Iterator[bytes]:
    with opened(file) as source:
        if source.is_csv:
            _, names = next(rows := csv_rows(source))
            for _, row in rows:
                yield orjson.dumps(dict(zip(names, map(value_of, row), strict=True)))
        else:
            for _, message in json_lines(source):
                yield message


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
