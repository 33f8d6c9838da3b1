"""Sorts more entries than fit into memory: sorted runs are written to disk and merged as they are read back."""

from __future__ import annotations

import heapq
import marshal
import mmap
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, TypeVar

Entry = tuple[bytes, int, bytes]
"""A key, its line in the input, and the value."""

T = TypeVar("T", bound=tuple[Any, ...])

RUN_BYTES = 32 << 20
"""Approximate memory of the entries of a run. Two runs are in memory at a time."""
ENTRY_BYTES = 200
"""Memory of an entry besides its key and value."""
BATCH_BYTES = 256 << 10
"""Approximate memory of the part of a run that is read back at a time. All runs are read at once."""


class SortedRuns:
    """Takes entries in any order and returns them sorted by key, and by line where keys are equal."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._files: list[Path] = []
        self._last: list[Entry] = []
        self.count = 0
        self.max_database_bytes = 0
        """Upper bound of the size of a database of the entries. A large value takes pages of its own."""

    def add(self, entries: Iterable[Entry]) -> None:
        """Add entries; raise OSError if a run cannot be written."""
        for run in batches(entries, RUN_BYTES):
            if self._last:
                self._write(self._last)
            run.sort()
            self._last = run
            self.count += len(run)
            self.max_database_bytes += sum(map(_max_bytes, run))

    def merged(self) -> Iterator[Entry]:
        """Return all entries in order."""
        return heapq.merge(*map(_read, self._files), self._last) if self._files else iter(self._last)

    def _write(self, run: list[Entry]) -> None:
        file = self._folder / f"run-{len(self._files)}"
        with file.open("wb") as written:
            for batch in batches(run, BATCH_BYTES):
                marshal.dump(batch, written)
        self._files.append(file)


def batches(entries: Iterable[T], max_bytes: int) -> Iterator[list[T]]:
    """Yield lists of entries of about `max_bytes` of memory. An entry begins with its key and ends with its value."""
    batch, held = [], 0
    for entry in entries:
        batch.append(entry)
        held += len(entry[0]) + len(entry[-1]) + ENTRY_BYTES
        if held >= max_bytes:
            yield batch
            batch, held = [], 0
    if batch:
        yield batch


def _max_bytes(entry: Entry) -> int:
    size = len(entry[0]) + len(entry[2])
    return 2 * (size + 16) if size < mmap.PAGESIZE // 4 else size + 3 * mmap.PAGESIZE


def _read(file: Path) -> Iterator[Entry]:
    with file.open("rb") as written:
        while True:
            try:
                batch: list[Entry] = marshal.load(written)
            except EOFError:
                return
            yield from batch
