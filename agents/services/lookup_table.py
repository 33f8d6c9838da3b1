"""`@lookup_table`: declares a lookup that a line builds itself, in its optional file `lookups.py`."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from metroline.agents.lookups.errors import LookupNotBuilt
from metroline.agents.lookups.paths import check_name
from metroline.agents.services.known_options import refuses_unknown_options
from metroline.routing.errors import InvalidLine

Rows = Callable[[], Iterable[Mapping[str, Any]]]


@dataclass(frozen=True, slots=True)
class LookupTable:
    """A lookup that a line builds itself, before its workers start. See `lookup_table` for the fields."""

    name: str
    rows: Rows
    key: str
    value: str | None = None
    data: Callable[[], Iterable[Path | str]] | None = None

    def digest(self, code: Iterable[Path]) -> str:
        """Return a digest of the line's code and of the data files; the lookup is built again when it changes.

        Raise `LookupNotBuilt` if a file cannot be read.
        """
        found = hashlib.blake2b(digest_size=16)
        for file in (*code, *self.files()):
            try:
                with file.open("rb") as content:
                    found.update(hashlib.file_digest(content, "blake2b").digest())
            except OSError as error:
                raise LookupNotBuilt(f"lookup {self.name}: {file} cannot be read: {error}") from error
        return found.hexdigest()

    def files(self) -> list[Path]:
        """Return the files that `data` names; raise `LookupNotBuilt` if it does not return paths."""
        if self.data is None:
            return []
        try:
            return list(map(Path, self.data()))
        except (Exception, SystemExit) as error:  # a user's function may raise anything; the user sees one line
            raise LookupNotBuilt(
                f"lookup {self.name}: data must be a function without parameters that returns a list of files: "
                f"{type(error).__name__}: {error}"
            ) from error


@refuses_unknown_options
def lookup_table(
    name: str, *, key: str, value: str | None = None, data: Callable[[], Iterable[Path | str]] | None = None
) -> Callable[[Rows], Rows]:
    """Declare that a function in a line's `lookups.py` yields the rows (dicts) of a lookup.

    The lookup is built when a worker starts, and again after the line's code or one of the data files has changed.

    Args:
        name: Name of the lookup, to be used in `lookup(name)`.
        key: Column by whose values rows are found.
        value: Column whose value `get` returns. Default: a dict with all columns but `key`.
        data: Function without parameters that returns the files from which the rows are read. Default: no files.

    Raises `InvalidLine` if a parameter has an invalid value.
    """
    if not isinstance(key, str) or not isinstance(value, str | None):
        raise InvalidLine(f"lookup {name}: key and value must be names of columns, not {key!r} and {value!r}")
    if data is not None and not callable(data):
        raise InvalidLine(f"lookup {name}: data must be a function that returns a list of files, not {data!r}")

    def mark(rows: Rows) -> Rows:
        rows.__lookup__ = LookupTable(check_name(name), rows, key, value, data)  # type: ignore[attr-defined]
        return rows

    return mark
