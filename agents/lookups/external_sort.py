"""Sorts more entries than memory holds: sorted runs go to disk, and are merged as they are read back."""

from __future__ import annotations

import heapq
import marshal
import mmap
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, TypeVar

Entry = tuple[bytes, int, bytes]
"""A key, the line of the input where it stood, and the value."""

T = TypeVar("T", bound=tuple[Any, ...])

RUN_BYTES = 32 << 20
"""How much memory the entries of a run take, about; there are two at a time."""
ENTRY_BYTES = 200
"""What Python needs for an entry besides its key and its value."""
BATCH_BYTES = 256 << 10
"""How much of a run is read back at a time, about: all runs are read at once."""


class Runs:
    """Entries in any order, given back in that of their keys, and of their lines where keys are equal."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._files: list[Path] = []
        self._last: list[Entry] = []
        self.count = 0
        self.most_bytes = 0
        """What a database of the entries takes, at most: a large value has pages of its own."""

    def add(self, entries: Iterable[Entry]) -> None:
        """Takes all of them; raises OSError where a run cannot be written."""
        for run in batches(entries, RUN_BYTES):
            if self._last:
                self._write(self._last)
            run.sort()
            self._last = run
            self.count += len(run)
            self.most_bytes += sum(map(_room, run))

    def merged(self) -> Iterator[Entry]:
        """All entries in order."""
        return heapq.merge(*map(_read, self._files), self._last) if self._files else iter(self._last)

    def _write(self, run: list[Entry]) -> None:
        file = self._folder / f"run-{len(self._files)}"
        with file.open("wb") as written:
            for batch in batches(run, BATCH_BYTES):
                marshal.dump(batch, written)
        self._files.append(file)


def batches(entries: Iterable[T], most_bytes: int) -> Iterator[list[T]]:
    """Lists of entries, whose first is a key and whose last a value, that take about so much memory."""
    batch, held = [], 0
    for entry in entries:
        batch.append(entry)
        held += len(entry[0]) + len(entry[-1]) + ENTRY_BYTES
        if held >= most_bytes:
            yield batch
            batch, held = [], 0
    if batch:
        yield batch


def _room(entry: Entry) -> int:
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
