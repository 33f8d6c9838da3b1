"""Prints what workers write: the output and the log of services, and the warnings of the workers themselves."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from metroline.app.local.log_tail import LogTail

MAX_LINES = 1_000
"""Number of lines of one worker that are printed at a look. Of more, the last ones are printed, and the others stand in
its log."""


class WorkerOutput:
    """Follows the logs of workers, one after the other where they replace each other."""

    def __init__(self, say: Callable[[str], None]) -> None:
        self._say = say
        self._tails: dict[Path, LogTail] = {}

    def look(self, logs: list[Path], *, is_last: bool = False) -> None:
        """Print what was added to the logs since the last look; with `is_last`, incomplete lines, too."""
        for log in logs:
            tail = self._tails.setdefault(log, LogTail(log))
            lines = list(tail.lines(is_last=is_last))
            if len(lines) > MAX_LINES:
                self._say(f"{len(lines) - MAX_LINES} lines more are in {log}")
            for line in lines[-MAX_LINES:]:
                self._say(line)
