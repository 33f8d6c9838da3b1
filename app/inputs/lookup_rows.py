"""The entries of a lookup: the rows of a user's file, or the rows that a line's own code yields."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import orjson

from metroline.agents.lookups.builder import Progress
from metroline.agents.lookups.errors import InvalidLookup, LookupNotBuilt
from metroline.agents.lookups.external_sort import Entry
from metroline.agents.lookups.keys import require_key
from metroline.agents.services.lookup_table import LookupTable
from metroline.app.inputs.csv_table import csv_table
from metroline.app.inputs.row_files import DEFAULT_READING, Reading, RowFile, UnreadableRecords, opened
from metroline.app.inputs.source_records import values_in
from metroline.routing.errors import MetrolineError
from metroline.routing.records.source_messages import read_message
from metroline.routing.spelling import suggestion

REPORT_ROWS = 10_000
"""Rows between two reports of progress."""

Row = tuple[int, dict[str, Any]]
"""The line where a row begins, and the row."""


def of_file(
    file: Path,
    key: str,
    value: str | None,
    report: Progress,
    *,
    reading: Reading = DEFAULT_READING,
    allow_empty: bool = False,
) -> Iterator[Entry]:
    """Yield the rows of a file by their column `key`.

    Raise `UnreadableRecords` with the file and line of a row that cannot be an entry.
    """
    with opened(file, reading) as source:
        total = file.stat().st_size if source.can_be_opened_again else 0
        rows = _of_csv(source, key, value, reading) if source.is_table else _of_values(source)
        number = 0
        for number, (line, row) in enumerate(rows, start=1):
            try:
                yield _entry(row, key, value, line)
            except InvalidLookup as error:
                raise UnreadableRecords(f"{source.name}:{line}: {error}") from error
            if number % REPORT_ROWS == 0:
                report("reading", source.done(), total)
        if not number and not allow_empty:
            raise UnreadableRecords(
                f"{source.name}: there is no row in it; --allow-empty makes a lookup without entries"
            )
        report("reading", total, total)


def of_table(table: LookupTable, report: Progress) -> Iterator[Entry]:
    """Yield the rows of a line's own lookup. Raise `LookupNotBuilt` for a row that cannot be an entry."""
    number = 0
    try:
        for number, row in enumerate(table.rows(), start=1):
            yield _entry(dict(row), table.key, table.value, number)
            if number % REPORT_ROWS == 0:
                report(table.name, number, 0)
    except InvalidLookup as error:
        raise LookupNotBuilt(f"lookup {table.name}: row {number}: {error}") from error
    except MetrolineError:
        raise
    except (Exception, SystemExit) as error:  # a line's own code may raise anything; it becomes one line
        raise LookupNotBuilt(f"lookup {table.name}: after row {number}: {type(error).__name__}: {error}") from error


def _of_csv(source: RowFile, key: str, value: str | None, reading: Reading) -> Iterator[Row]:
    """Yield the rows of a CSV. A key stays text as it is written, such as 007 or 1e3."""
    with csv_table(source, reading, key) as table:
        names = table.names
        if not names:
            raise UnreadableRecords(f"{source.name}: the file is empty")
        for name in (key, key if value is None else value):
            if name not in names:
                raise UnreadableRecords(f"{source.name}:{table.line}: {_no_column(name, names)}")
        place = names.index(key)
        wanted = [(name, at) for at, name in enumerate(names) if at != place and value in (None, name)]
        for line, cells in table.rows:
            row = {name: table.converts[at](cells[at]) for name, at in wanted}
            row[key] = cells[place]
            yield line, row


def _of_values(source: RowFile) -> Iterator[Row]:
    """Yield the rows of another file. Values keep their types; a value that could not be a record is not a row."""
    for line, text in values_in(source):
        [read] = read_message(text)
        if read.record is None:
            raise UnreadableRecords(f"{source.name}:{line}: {read.problem}")
        yield line, read.record


def _entry(row: dict[str, Any], key: str, value: str | None, line: int) -> Entry:
    for name in (key, key if value is None else value):
        if name not in row:
            raise InvalidLookup(_no_column(name, list(row)))
    kept = require_key(row[key])
    if value is None:
        del row[key]
    # a copy: orjson's own bytes hold on to a kilobyte each, too much for millions of entries
    return kept, line, bytes(memoryview(orjson.dumps(row if value is None else row[value])))


def _no_column(name: str, names: Sequence[str]) -> str:
    return f"there is no column {name!r}; there are {', '.join(names) or 'none'}{suggestion(name, names)}"
