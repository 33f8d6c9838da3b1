"""Shows the events of a live line: on a terminal, and as JSON Lines for programs."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

from metroline.app.cli.json_lines import JsonLines, json_lines
from metroline.app.cli.live.events import Counts, Ended, Event
from metroline.app.cli.live.status_line import StatusLine

Tell = Callable[[Event], None]


class Display(Protocol):
    """Shows events. May be used by several threads."""

    def tell(self, event: Event) -> None:
        """Show an event."""


class TerminalDisplay:
    """Prints events for people. The latest counts are the last line."""

    def __init__(self, status: StatusLine | None = None) -> None:
        self._status = status or StatusLine()

    def tell(self, event: Event) -> None:
        """Print the lines of an event, or write the counts over those before."""
        if isinstance(event, Counts):
            self._status.show(event.text)
        elif isinstance(event, Ended):
            self._status.end()
        else:
            self._status.say(*event.lines())


class JsonDisplay:
    """Writes each event as a JSON object in a line of its own. Counts are written if they have changed."""

    def __init__(self, lines: JsonLines, clock: Callable[[], float] = time.time) -> None:
        """`clock` returns seconds since the epoch."""
        self._lines = lines
        self._clock = clock
        self._counts: Counts | None = None

    def tell(self, event: Event) -> None:
        """Write an event with its time."""
        if isinstance(event, Counts):
            before, self._counts = self._counts, event
            if event == before:
                return
        self._lines.write({**event.as_json(), "at": round(self._clock(), 3)})


class Displays:
    """Several displays as one."""

    def __init__(self, displays: Sequence[Display]) -> None:
        self._displays = displays

    def tell(self, event: Event) -> None:
        """Show an event on all displays."""
        for display in self._displays:
            display.tell(event)


@contextmanager
def displays(json_file: Path | None) -> Iterator[Display]:
    """Yield a display for people, for programs if there is a file, or for programs alone if the file is `-`."""
    if json_file is None:
        yield TerminalDisplay()
        return
    with json_lines(json_file) as lines:
        told = JsonDisplay(lines)
        yield told if str(json_file) == "-" else Displays([TerminalDisplay(), told])
