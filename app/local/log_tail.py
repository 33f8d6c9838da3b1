"""Follows a log that another process writes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

CHUNK_BYTES = 64 * 1024


@dataclass(slots=True)
class LogTail:
    """Reads what was added to a file since the last look."""

    file: Path
    offset: int = 0
    rest: bytes = b""
    """The beginning of a line whose end is not written yet."""

    def lines(self, *, is_last: bool = False) -> Iterator[str]:
        """Yield the lines that were completed since the last look; with `is_last`, an incomplete one, too."""
        with self.file.open("rb") as log:
            log.seek(self.offset)
            while chunk := log.read(CHUNK_BYTES):
                self.offset += len(chunk)
                *complete, self.rest = (self.rest + chunk).split(b"\n")
                yield from (line.decode("utf-8", "replace") for line in complete)
        if is_last and self.rest:
            rest, self.rest = self.rest, b""
            yield rest.decode("utf-8", "replace")
