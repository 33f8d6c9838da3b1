"""Builds lookups, from a user's file or from a line's own code, for the command and for workers."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from metroline.agents.lookups import lookup
from metroline.agents.lookups.builder import Origin, Progress, alone, build
from metroline.agents.lookups.errors import InvalidLookup, LookupDamaged
from metroline.agents.lookups.footer import Label
from metroline.agents.lookups.mapped_file import versions
from metroline.agents.lookups.paths import checked, file_of, folder
from metroline.agents.services.line import Line
from metroline.agents.services.lookup_table import LookupTable
from metroline.app.inputs import lookup_rows


def no_report(task: str, done: int, total: int) -> None:
    """Report progress to nobody."""


def build_from_file(
    name: str,
    file: Path,
    key: str,
    value: str | None,
    *,
    as_text: bool = False,
    allow_empty: bool = False,
    report: Progress = no_report,
) -> Label:
    """Build the lookup `name` from the rows of a file. Raise a `MetrolineError` and keep the old version on failure."""
    where = folder()
    with alone(checked(name), where, wait=False):
        rows = lookup_rows.of_file(file, key, value, report, as_text=as_text, allow_empty=allow_empty)
        return build(name, where, rows, Origin(key, value, str(file.resolve())), report)


def build_of_line(line: Line, report: Progress = no_report) -> Iterator[tuple[str, Label]]:
    """Build every lookup that the line declares, whether it exists or not. Yield the name and label of each."""
    for table in line.tables:
        with alone(table.name, folder(), wait=True):
            yield table.name, _build_table(line, table, report)


def prepare_lookups(line: Line) -> None:
    """Build the line's own lookups that are missing or out of date, and open every lookup that its code names.

    Raise a `MetrolineError` for a lookup that cannot be built, is missing or is damaged. Any number of processes may
    call this at once. A lookup that a user built from a file stays as it is.
    """
    for table in line.tables:
        if not _is_current(line, table):
            with alone(table.name, folder(), wait=True):
                if not _is_current(line, table):  # another process may have built it meanwhile
                    _build_table(line, table, no_report)
    for name in sorted(line.lookups):
        lookup(name).open()


def _is_current(line: Line, table: LookupTable) -> bool:
    """Tell whether a lookup exists and was built by the line's present code and data, or by a user."""
    try:
        label = versions.at(file_of(table.name, folder())).label
    except (OSError, LookupDamaged):
        return False
    if not label.maker or label.digest == table.digest(line.code):
        return True
    if label.maker != line.name:
        raise InvalidLookup(
            f"the lines {label.maker} and {line.name} both make the lookup {table.name}: rename one, or "
            "give each line a LOOKUP_DIR of its own"
        )
    return False


def _build_table(line: Line, table: LookupTable, report: Progress) -> Label:
    origin = Origin(table.key, table.value, f"the line {line.name}", line.name, table.digest(line.code))
    return build(table.name, folder(), lookup_rows.of_table(table, report), origin, report)
