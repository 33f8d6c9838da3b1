"""Writes what became of each record to a file, in the order of the input."""

from __future__ import annotations

import mmap
from array import array
from pathlib import Path
from types import TracebackType
from typing import IO, Self

import orjson

from metroline.routing.messages.segment import Segment
from metroline.routing.outcome import Ending, Outcome


class ResultsFile:
    """A file of JSON lines, one for each of `count` records. Records come in any order and are sorted at the end."""

    def __init__(self, file: Path, count: int) -> None:
        self._file = file
        self._scratch = file.with_suffix(".unsorted")
        self._places = array("Q", bytes(8 * count))
        """By index of a record: where its line begins in the scratch file, plus 1; 0 if it has none."""
        self._output: IO[bytes] = self._scratch.open("wb")

    def add(self, index: int, segment: Segment, place: int, record_id: str) -> None:
        """Write the record at `place` in a segment, which is number `index` of the input."""
        outcome = segment.outcome or Outcome(Ending.DEAD)
        line = orjson.dumps(
            {
                "id": record_id,
                "index": index,
                "stops": segment.stops,
                "outcome": outcome.ending,
                "reason": outcome.reason,
                "record": orjson.Fragment(segment.lines[place]),
            }
        )
        self._places[index] = self._output.tell() + 1
        self._output.write(line + b"\n")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._output.close()
        if self._scratch.stat().st_size:
            self._sort()
        self._scratch.unlink()

    def _sort(self) -> None:
        with (
            self._scratch.open("rb") as unsorted,
            self._file.open("wb") as output,
            mmap.mmap(unsorted.fileno(), 0, access=mmap.ACCESS_READ) as lines,
        ):
            for place in self._places:
                if place:
                    output.write(lines[place - 1 : lines.find(b"\n", place - 1) + 1])
