"""Progress bars, shown on a terminal only."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn

from metroline.app.markup.text import escaped

ReportProgress = Callable[[str, int, int], None]
"""Takes the name of a task, how much of it is done, and its total (0: not known)."""


@contextmanager
def progress_bars(console: Console, figures: ProgressColumn) -> Iterator[ReportProgress]:
    """Show the progress that is reported while the block runs; `figures` is the column with a bar's figures."""
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        figures,
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        yield bar_per_task(progress)


def bar_per_task(progress: Progress) -> ReportProgress:
    """Return a function that shows one bar for each task. A bar pulses as long as its total is not known (0)."""
    tasks: dict[str, TaskID] = {}

    def report(task: str, done: int, total: int) -> None:
        if task not in tasks:
            tasks[task] = progress.add_task(escaped(task), total=None)
        progress.update(tasks[task], completed=done, total=total or None)

    return report
