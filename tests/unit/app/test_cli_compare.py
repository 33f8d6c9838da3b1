"""`metroline compare`: the output while it runs."""

from __future__ import annotations

import io

from rich.console import Console
from rich.progress import Progress

from metroline.app.cli.progress import bar_per_task


def test_a_bar_whose_total_is_known_at_its_end_is_done_then() -> None:
    progress = Progress(console=Console(file=io.StringIO()))
    told = bar_per_task(progress)

    told("loading the source", 2_000, 0)
    (bar,) = progress.tasks
    assert (bar.completed, bar.total, bar.finished) == (2_000, None, False)

    told("loading the source", 2_500, 2_500)
    told("signpost", 0, 2_500)
    assert (bar.total, bar.finished) == (2_500, True)
    assert [task.finished for task in progress.tasks] == [True, False]
