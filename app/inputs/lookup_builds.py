"""Lookups for the command and for workers: made from a user's file, or of what a line's own code yields."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from metroline.agents.lookups import lookup
from metroline.agents.lookups.builder import BuildInfo, Progress, build, lock
from metroline.agents.lookups.errors import InvalidLookup, LookupDamaged
from metroline.agents.lookups.footer import Footer
from metroline.agents.lookups.mapped_file import mapped_files
from metroline.agents.lookups.paths import check_name, file_of, folder
from metroline.agents.services.line import Line
from metroline.agents.services.lookup_table import LookupTable
from metroline.app.inputs import lookup_rows as entries


def silent(what: str, done: int, total: int) -> None:
    """Tells nobody how far it has come."""


def build_from_file(
    name: str,
    file: Path,
    key: str,
    value: str | None,
    *,
    as_text: bool = False,
    allow_empty: bool = False,
    told: Progress = silent,
) -> Footer:
    """Makes the lookup `name` of the rows of a file; raises a `MetrolineError`, and then the old version stays."""
    where = folder()
    with lock(check_name(name), where, wait=False):
        rows = entries.of_file(file, key, value, told, as_text=as_text, allow_empty=allow_empty)
        return build(name, where, rows, BuildInfo(key, value, str(file.resolve())), told)


def build_of_line(line: Line, told: Progress = silent) -> Iterator[tuple[str, Footer]]:
    """Makes all lookups that a line makes itself, whether they are there or not."""
    for table in line.tables:
        with lock(table.name, folder(), wait=True):
            yield table.name, _build_table(line, table, told)


def prepare_lookups(line: Line) -> None:
    """Makes what the line makes itself and is missing, or older than its code and data; opens all that its code names.

    Raises a `MetrolineError` for one that cannot be made, is missing or damaged. Any number of processes may do this at
    once. One that a user built from a file is left as it is.
    """
    for table in line.tables:
        if not _is_current(line, table):
            with lock(table.name, folder(), wait=True):
                if not _is_current(line, table):  # another process may have made it meanwhile
                    _build_table(line, table, silent)
    for name in sorted(line.lookups):
        lookup(name).open()


def _is_current(line: Line, table: LookupTable) -> bool:
    try:
        label = mapped_files.at(file_of(table.name, folder())).footer
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


def _build_table(line: Line, table: LookupTable, told: Progress) -> Footer:
    origin = BuildInfo(table.key, table.value, f"the line {line.name}", line.name, table.digest(line.code))
    return build(table.name, folder(), entries.of_table(table, told), origin, told)
