"""Progress bars, which are silent when not on a terminal."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn

Told = Callable[[str, int, int], None]
"""Told what goes on, how far it has come, and how far it goes (0: not known)."""


@contextmanager
def progress_bars(console: Console, figures: ProgressColumn) -> Iterator[Told]:
    """Shows what it is told for as long as the block runs; `figures` says how a bar's figures are written."""
    columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), figures, TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        yield telling(progress)


def telling(progress: Progress) -> Told:
    """Shows what goes on, one bar for each; one whose total is not known (0) pulses until it is."""
    tasks: dict[str, TaskID] = {}

    def told(what: str, done: int, total: int) -> None:
        if what not in tasks:
            tasks[what] = progress.add_task(what, total=None)
        progress.update(tasks[what], completed=done, total=total or None)

    return told
