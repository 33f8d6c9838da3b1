"""The optional third file of a line, `lookups.py`: what the line looks things up in and makes itself."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from agents.lookups.errors import LookupNotBuilt
from agents.lookups.place import checked

Rows = Callable[[], Iterable[Mapping[str, Any]]]


@dataclass(frozen=True, slots=True)
class LookupTable:
    """A lookup that a line makes itself, before its workers start."""

    name: str
    rows: Rows
    key: str
    value: str | None = None
    data: Callable[[], Iterable[Path]] | None = None

    def digest(self, code: Iterable[Path]) -> str:
        """Of the line's code and of the data files that its rows come from: another one asks for a new version."""
        found = hashlib.blake2b(digest_size=16)
        for file in (*code, *(self.data() if self.data is not None else ())):
            try:
                with file.open("rb") as content:
                    found.update(hashlib.file_digest(content, "blake2b").digest())
            except OSError as error:
                raise LookupNotBuilt(f"lookup {self.name}: {file} cannot be read: {error}") from error
        return found.hexdigest()


def lookup_table(
    name: str, *, key: str, value: str | None = None, data: Callable[[], Iterable[Path]] | None = None
) -> Callable[[Rows], Rows]:
    """Marks a function in a line's `lookups.py` that yields the rows (dicts) of the lookup `name`.

    It is looked up by the column `key`, and gives the column `value`, or all others as a dict. What a line makes itself
    is built when a worker starts, and again when the line's code has changed, or one of the files that `data()` gives.
    """

    def mark(rows: Rows) -> Rows:
        rows.__lookup__ = LookupTable(checked(name), rows, key, value, data)  # type: ignore[attr-defined]
        return rows

    return mark
