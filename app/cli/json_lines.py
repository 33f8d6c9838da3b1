"""JSON Lines (https://jsonlines.org): what a command that runs on writes for programs, one object in each line."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from threading import Lock
from typing import Any, TextIO

from metroline.app.cli.options import UnwritableFile


class JsonLines:
    """Writes objects, each at once, since a program may be waiting for it. May be used by several threads."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._lock = Lock()

    def write(self, data: Mapping[str, Any]) -> None:
        """Write an object; raise OSError if nobody can read it."""
        with self._lock:
            self._stream.write(json.dumps(data) + "\n")
            self._stream.flush()


@contextmanager
def json_lines(file: Path) -> Iterator[JsonLines]:
    """Yield a writer to a new file, or to the standard output for `-`; raise `UnwritableFile` if that fails."""
    if str(file) == "-":
        yield JsonLines(sys.stdout)
        return
    try:
        stream = file.open("w", encoding="utf-8")
    except OSError as error:
        raise UnwritableFile(f"--json: {file} cannot be written: {error.strerror}") from error
    with stream:
        yield JsonLines(stream)
