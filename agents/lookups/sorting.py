"""Sorts more entries than memory holds: sorted runs go to disk, and are merged as they are read back."""

from __future__ import annotations

import heapq
import marshal
import mmap
from collections.abc import Iterable, Iterator
from pathlib import Path

Entry = tuple[bytes, int, bytes]
"""A key, the line of the input where it stood, and the value."""

RUN_BYTES = 64 << 20
"""How much memory the entries of a run take, about."""
ENTRY_BYTES = 200
"""What Python needs for an entry besides its key and its value."""
BATCH = 1_000
"""Entries that are written, and read back, at a time."""


class Runs:
    """Entries in any order, given back in that of their keys, and of their lines where keys are equal."""

    def __init__(self, folder: Path, run_bytes: int = RUN_BYTES) -> None:
        self._folder = folder
        self._run_bytes = run_bytes
        self._files: list[Path] = []
        self._last: list[Entry] = []
        self.count = 0
        self.most_bytes = 0
        """What a database of the entries takes, at most: a large value has pages of its own."""

    def add(self, entries: Iterable[Entry]) -> None:
        """Takes all of them; raises OSError where a run cannot be written."""
        run, held = self._last, 0
        for entry in entries:
            size = len(entry[0]) + len(entry[2])
            run.append(entry)
            held += size + ENTRY_BYTES
            self.count += 1
            self.most_bytes += 2 * (size + 16) if size < mmap.PAGESIZE // 4 else size + 3 * mmap.PAGESIZE
            if held >= self._run_bytes:
                self._write(run)
                held = 0
        run.sort()

    def merged(self) -> Iterator[Entry]:
        """All entries in order."""
        return heapq.merge(*map(_read, self._files), self._last) if self._files else iter(self._last)

    def _write(self, run: list[Entry]) -> None:
        run.sort()
        file = self._folder / f"run-{len(self._files)}"
        with file.open("wb") as written:
            for start in range(0, len(run), BATCH):
                marshal.dump(run[start : start + BATCH], written)
        self._files.append(file)
        run.clear()


def _read(file: Path) -> Iterator[Entry]:
    with file.open("rb") as written:
        while True:
            try:
                batch: list[Entry] = marshal.load(written)
            except EOFError:
                return
            yield from batch
