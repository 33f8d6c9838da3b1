"""Keeps the final records of runs as far as they are needed to say in what they differ."""

from __future__ import annotations

from array import array
from heapq import heappop, heappush
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self

from metroline.app.compare.evidence import Evidence

MAX_KEPT = 10_000
MAX_KEPT_BYTES = 32 * 1024 * 1024
"""Maximum number and size of the differing records that are kept of a run."""


class FinalRecords(Protocol):
    """The final records of a run, each by its index in the input."""

    def take(self, index: int, line: bytes, evidence: Evidence) -> None:
        """Keep a record, which was added to the evidence of its run, if it is needed."""

    def line(self, index: int) -> bytes | None:
        """Return a record; None if it was not kept."""


class AllRecords:
    """Every final record of the first run, in a file, since any of them may differ from those of later runs."""

    def __init__(self, file: Path, count: int) -> None:
        self._places = array("Q", bytes(8 * count))
        """By index of a record: where its line begins in the file, plus 1; 0 if it has none."""
        self._file = file.open("w+b")
        self._path = file
        self._end = 0

    def take(self, index: int, line: bytes, evidence: Evidence) -> None:
        self._places[index] = self._end + 1
        self._end += self._file.write(line + b"\n")

    def line(self, index: int) -> bytes | None:
        place = self._places[index]
        if not place:
            return None
        self._file.seek(place - 1)
        return self._file.readline().rstrip(b"\n")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()
        self._path.unlink()


class NoRecords:
    """No final records: those of a run that is compared with no other."""

    def take(self, index: int, line: bytes, evidence: Evidence) -> None:
        """Keep nothing."""

    def line(self, index: int) -> bytes | None:
        return None


class DifferingRecords:
    """The final records of a run that differ from those of the first run: those with the lowest indexes."""

    def __init__(self, first: Evidence) -> None:
        self.first = first
        self.complete_below = first.count
        """All records with a lower index that differ were kept."""
        self._lines: dict[int, bytes] = {}
        self._highest: list[int] = []
        """A heap of the negative indexes."""
        self._bytes = 0

    def take(self, index: int, line: bytes, evidence: Evidence) -> None:
        if index >= self.complete_below or not evidence.differs(index, self.first):
            return
        self._lines[index] = line
        self._bytes += len(line)
        heappush(self._highest, -index)
        while len(self._lines) > 1 and (len(self._lines) > MAX_KEPT or self._bytes > MAX_KEPT_BYTES):
            self.complete_below = -heappop(self._highest)
            self._bytes -= len(self._lines.pop(self.complete_below))

    def line(self, index: int) -> bytes | None:
        return self._lines.get(index)
