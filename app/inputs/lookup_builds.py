"""Builds lookups, from a user's file or from a line's own code, for the command and for workers."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Set
from functools import partial
from pathlib import Path

from metroline.agents.lookups import lookup
from metroline.agents.lookups.builder import BuildInfo, Progress, build, lock
from metroline.agents.lookups.errors import InvalidLookup, LookupDamaged
from metroline.agents.lookups.footer import Footer
from metroline.agents.lookups.mapped_file import mapped_files
from metroline.agents.lookups.paths import check_name, file_of, folder
from metroline.agents.services.line import Line
from metroline.agents.services.lookup_table import LookupTable
from metroline.app.inputs import lookup_rows
from metroline.app.inputs.row_files import DEFAULT_READING, STANDARD_INPUT, Reading, name_of
from metroline.routing.errors import MetrolineError


def no_report(task: str, done: int, total: int) -> None:
    """Report progress to nobody."""


def build_from_file(
    name: str,
    file: Path,
    key: str,
    value: str | None,
    *,
    reading: Reading = DEFAULT_READING,
    allow_empty: bool = False,
    report: Progress = no_report,
) -> Footer:
    """Build the lookup `name` from the rows of a file. Raise a `MetrolineError` and keep the old version on failure."""
    where = folder()
    with lock(check_name(name), where, wait=False):
        rows = lookup_rows.of_file(file, key, value, report, reading=reading, allow_empty=allow_empty)
        origin = name_of(file) if file == STANDARD_INPUT else str(file.resolve())
        return build(name, where, rows, BuildInfo(key, value, origin), report)


def build_of_line(line: Line, report: Progress = no_report) -> Iterator[tuple[str, Footer]]:
    """Build every lookup that the line declares, whether it exists or not. Yield the name and footer of each."""
    for table in line.tables:
        with lock(table.name, folder(), wait=True):
            yield table.name, _build_table(line, table, report)


def prepare_lookups(line: Line) -> None:
    """Build the line's own lookups that are missing or out of date, and open every lookup that its code names.

    Raise a `MetrolineError` for a lookup that cannot be built, is missing or is damaged. Any number of processes may
    call this at once. A lookup that a user built from a file stays as it is.
    """
    for _, prepare in _preparations(line):
        prepare()


def prepare_possible_lookups(line: Line, without: Set[str] = frozenset()) -> list[str]:
    """Prepare the lookups of a line as `prepare_lookups` does, but go on where one cannot be; return the problems.

    Those that are named in `without` are left as they are.
    """
    problems: dict[str, str] = {}
    for name, prepare in _preparations(line):
        if name not in problems and name not in without:
            try:
                prepare()
            except MetrolineError as error:
                problems[name] = str(error)
    return list(problems.values())


def _preparations(line: Line) -> Iterator[tuple[str, Callable[[], None]]]:
    """Yield a function for each lookup that the line builds, and for each that its code names, with its name."""
    for table in line.tables:
        yield table.name, partial(_build_if_outdated, line, table)
    for name in sorted(line.lookups):
        yield name, lookup(name).open


def _build_if_outdated(line: Line, table: LookupTable) -> None:
    if not _is_current(line, table):
        with lock(table.name, folder(), wait=True):
            if not _is_current(line, table):  # another process may have built it meanwhile
                _build_table(line, table, no_report)


def _is_current(line: Line, table: LookupTable) -> bool:
    """Tell whether a lookup exists and was built by the line's present code and data, or by a user."""
    try:
        footer = mapped_files.at(file_of(table.name, folder())).footer
    except (OSError, LookupDamaged):
        return False
    if not footer.maker or footer.digest == table.digest(line.code):
        return True
    if footer.maker != line.name:
        raise InvalidLookup(
            f"the lines {footer.maker} and {line.name} both make the lookup {table.name}: rename one, or "
            "give each line a LOOKUP_DIR of its own"
        )
    return False


def _build_table(line: Line, table: LookupTable, report: Progress) -> Footer:
    origin = BuildInfo(table.key, table.value, f"the line {line.name}", line.name, table.digest(line.code))
    return build(table.name, folder(), lookup_rows.of_table(table, report), origin, report)
