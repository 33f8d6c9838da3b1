"""Tells what workers write: the output and the log of services, and the warnings of the workers themselves."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

from metroline.app.cli.live.display import Tell
from metroline.app.cli.live.events import Output, Problem
from metroline.app.local.log_tail import LogTail

MAX_LINES = 1_000
"""Number of lines of one worker that are told at a look. Of more, the last ones are told, and the others stand in its
log."""


class WorkerOutput:
    """Follows the logs of workers, one after the other where they replace each other."""

    def __init__(self, tell: Tell) -> None:
        self._tell = tell
        self._tails: dict[Path, LogTail] = {}

    def look(self, logs: list[Path], names: Collection[str], *, is_last: bool = False) -> None:
        """Tell what was added to the logs since the last look; with `is_last`, incomplete lines, too.

        `names` are those of the stops and resources, with which their lines begin.
        """
        for log in logs:
            tail = self._tails.setdefault(log, LogTail(log))
            lines = list(tail.lines(is_last=is_last))
            if len(lines) > MAX_LINES:
                self._tell(Problem("note", f"{len(lines) - MAX_LINES} lines more are in {log}"))
            for line in lines[-MAX_LINES:]:
                self._tell(_output(line, names, log))


def _output(line: str, names: Collection[str], log: Path) -> Output:
    stop, separator, text = line.partition(" | ")
    if separator and stop in names:
        return Output(stop, text, str(log))
    return Output(None, line, str(log))
