"""Sample records of a line in a file, `records.jsonl`, which are repeated as often as records are asked for."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import cycle, islice
from pathlib import Path

from metroline.routing.errors import InvalidLine

SAMPLES = "records.jsonl"


def repeated(file: Path) -> Callable[[int, int], Iterator[bytes]]:
    """Return a function that yields `count` source messages: the lines of a file, again and again. It has no seed.

    Blank lines are left out. The function raises `InvalidLine` if the file cannot be read or has no records.
    """

    def records(count: int, _seed: int) -> Iterator[bytes]:
        try:
            lines = [line for line in file.read_bytes().splitlines() if line.strip()]
        except OSError as error:
            raise InvalidLine(f"{file} cannot be read: {error.strerror}") from error
        if not lines:
            raise InvalidLine(f"{file} has no records: write a JSON object into each line")
        return islice(cycle(lines), count)

    return records
