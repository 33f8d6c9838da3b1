"""The optional third file of a line, `lookups.py`: what the line looks things up in and makes itself."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from metroline.agents.lookups.errors import LookupNotBuilt
from metroline.agents.lookups.paths import check_name
from metroline.routing.errors import InvalidLine

Rows = Callable[[], Iterable[Mapping[str, Any]]]


@dataclass(frozen=True, slots=True)
class LookupTable:
    """A lookup that a line makes itself, before its workers start."""

    name: str
    rows: Rows
    key: str
    value: str | None = None
    data: Callable[[], Iterable[Path | str]] | None = None

    def digest(self, code: Iterable[Path]) -> str:
        """Of the line's code and of the data files that its rows come from: another one asks for a new version."""
        found = hashlib.blake2b(digest_size=16)
        for file in (*code, *self._files()):
            try:
                with file.open("rb") as content:
                    found.update(hashlib.file_digest(content, "blake2b").digest())
            except OSError as error:
                raise LookupNotBuilt(f"lookup {self.name}: {file} cannot be read: {error}") from error
        return found.hexdigest()

    def _files(self) -> list[Path]:
        """The files that `data` names; raises `LookupNotBuilt` where it is no function that gives paths."""
        if self.data is None:
            return []
        try:
            return list(map(Path, self.data()))
        except Exception as error:  # a line's own code may raise anything; it becomes one line
            raise LookupNotBuilt(
                f"lookup {self.name}: data is a function without parameters that gives a list of files: "
                f"{type(error).__name__}: {error}"
            ) from error


def lookup_table(
    name: str, *, key: str, value: str | None = None, data: Callable[[], Iterable[Path | str]] | None = None
) -> Callable[[Rows], Rows]:
    """Marks a function in a line's `lookups.py` that yields the rows (dicts) of the lookup `name`.

    It is looked up by the column `key`, and gives the column `value`, or all others as a dict. What a line makes itself
    is built when a worker starts, and again when the line's code has changed, or one of the files that `data()` gives.
    Raises `InvalidLine` for what names no columns or files.
    """
    if not isinstance(key, str) or not isinstance(value, str | None):
        raise InvalidLine(f"lookup {name}: key and value are names of columns, not {key!r} and {value!r}")
    if data is not None and not callable(data):
        raise InvalidLine(f"lookup {name}: data is a function that gives a list of files, not {data!r}")

    def mark(rows: Rows) -> Rows:
        rows.__lookup__ = LookupTable(check_name(name), rows, key, value, data)  # type: ignore[attr-defined]
        return rows

    return mark
