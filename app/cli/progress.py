"""Progress: bars on a terminal, and elsewhere a line from time to time."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn

from metroline.app.cli.terminal import say
from metroline.app.markup.text import escaped

ReportProgress = Callable[[str, int, int], None]
"""Takes the name of a task, how much of it is done, and its total (0: not known)."""

LINE_SECONDS = 10.0
"""Time between two lines where there is no terminal."""


@contextmanager
def progress_bars(console: Console, figures: ProgressColumn) -> Iterator[ReportProgress]:
    """Show the progress that is reported while the block runs; `figures` is the column with a bar's figures.

    Where the console is no terminal, a line goes to the standard error every ten seconds instead.
    """
    if not console.is_terminal:
        yield lines_of_progress()
        return
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        figures,
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=console, transient=True) as progress:
        yield bar_per_task(progress)


def bar_per_task(progress: Progress) -> ReportProgress:
    """Return a function that shows one bar for each task. A bar pulses as long as its total is not known (0)."""
    tasks: dict[str, TaskID] = {}

    def report(task: str, done: int, total: int) -> None:
        if task not in tasks:
            tasks[task] = progress.add_task(escaped(task), total=None)
        progress.update(tasks[task], completed=done, total=total or None)

    return report


def lines_of_progress(clock: Callable[[], float] = time.monotonic) -> ReportProgress:
    """Return a function that prints the progress of a task if the last line is ten seconds old."""
    began = told = clock()

    def report(task: str, done: int, total: int) -> None:
        nonlocal told
        now = clock()
        if now - told >= LINE_SECONDS:
            told = now
            share = f"{done:,} of {total:,} ({100 * done // total} %)" if total else f"{done:,}"
            say(f"{task}: {share}, after {now - began:.0f} s", err=True)

    return report
