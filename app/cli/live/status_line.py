"""The last line of a terminal, which shows how things stand, below the lines that stay."""

from __future__ import annotations

import os
import shutil
import sys
import time
from collections.abc import Callable
from threading import Lock

from metroline.app.cli.terminal import overwrite, say

PIPE_SECONDS = 10.0
"""Time between two states that are printed where there is no terminal."""


class StatusLine:
    """Prints lines, and keeps the latest state below them. May be used by several threads.

    On a terminal the state is written over again and again. In a pipe or a file it is printed as a line of its own,
    once in `PIPE_SECONDS` if it has changed.
    """

    def __init__(self, is_terminal: bool | None = None, clock: Callable[[], float] = time.monotonic) -> None:
        """Write to the standard output. `clock` returns seconds since any moment."""
        self.is_terminal = _is_terminal() if is_terminal is None else is_terminal
        self._clock = clock
        self._state = ""
        self._printed, self._printed_at = "", clock()
        self._is_last = False
        """True as long as the state that was printed last is the last line."""
        self._lock = Lock()

    def say(self, *lines: str) -> None:
        """Print lines above the state."""
        with self._lock:
            self._is_last = False
            if not self.is_terminal:
                say(*lines)
                return
            overwrite("")
            say(*lines)
            self._draw()

    def show(self, state: str) -> None:
        """Show how things stand."""
        with self._lock:
            self._state = state
            if self.is_terminal:
                self._draw()
            elif state != self._printed and self._clock() - self._printed_at >= PIPE_SECONDS:
                self._print()

    def end(self) -> None:
        """Print the latest state as a line that stays, unless it is the last line already."""
        with self._lock:
            if self.is_terminal:
                overwrite("")
            if self._state and not (self._is_last and self._state == self._printed):
                self._print()

    def _print(self) -> None:
        self._printed, self._printed_at, self._is_last = self._state, self._clock(), True
        say(self._state)

    def _draw(self) -> None:
        overwrite(self._state, shutil.get_terminal_size().columns - 1)


def _is_terminal() -> bool:
    return sys.stdout.isatty() and os.environ.get("TERM") != "dumb"
