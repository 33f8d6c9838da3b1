"""The files of a line whose changes take effect while it runs, and what has to be done for each."""

from __future__ import annotations

import os
from collections.abc import Iterator
from enum import Flag, auto
from pathlib import Path

from metroline.agents.lookups.paths import file_of, folder
from metroline.agents.services.line import Line
from metroline.agents.services.line_options import FILE as OPTIONS
from metroline.agents.services.sample_file import SAMPLES
from metroline.routing.errors import MetrolineError


class Effect(Flag):
    """The work that is to be done when a file has changed."""

    NOTHING = 0
    """The workers read it by themselves."""
    RULES = auto()
    """Publish the rules table."""
    WORKERS = auto()
    """Replace the workers by others, which load the line anew."""
    SAMPLES = auto()
    """Begin anew with the line's own records."""


def files_of(line: Line) -> Iterator[Path]:
    """Yield the files that exist, or may appear, for a line that was loaded.

    They are its own, those of its lookups, and those of modules elsewhere that its code has imported.
    """
    here = line.rules_file.parent
    yield line.rules_file
    yield here / OPTIONS
    yield here / SAMPLES
    yield from _code_below(here)
    yield from line.outside.values()
    yield from _data_of(line)
    yield from _read_lookups(line)


def effect_of(file: Path, line: Line) -> Effect:
    """Return what has to be done when a file of a line has changed."""
    if file == line.rules_file:
        return Effect.RULES
    if file == line.rules_file.parent / SAMPLES:
        return Effect.SAMPLES
    if file in set(_read_lookups(line)):
        return Effect.NOTHING
    return Effect.WORKERS | Effect.SAMPLES


def _code_below(here: Path) -> Iterator[Path]:
    """Yield the Python files in a folder and those below, without tests, hidden folders and virtual environments."""
    for where, inner, names in os.walk(here):
        inner[:] = [one for one in inner if not one.startswith((".", "__")) and not _is_environment(where, one)]
        yield from (Path(where, name) for name in names if name.endswith(".py") and not _is_test(name))


def _is_environment(where: str, name: str) -> bool:
    return os.path.exists(os.path.join(where, name, "pyvenv.cfg"))


def _is_test(name: str) -> bool:
    return name.startswith("test_") or name.endswith("_test.py") or name == "conftest.py"


def _data_of(line: Line) -> Iterator[Path]:
    """Yield the data files of the lookups that the line builds itself."""
    for table in line.tables:
        try:
            yield from table.files()
        except MetrolineError:  # whoever builds the lookup says so
            continue


def _read_lookups(line: Line) -> Iterator[Path]:
    """Yield the lookups that the line reads and a user builds."""
    own = {table.name for table in line.tables}
    return (file_of(name, folder()) for name in sorted(line.lookups - own))
