"""`metroline compare`: the output while it runs, and options that cannot be used."""

from __future__ import annotations

import io
from pathlib import Path

import msgspec
import pytest
from click.testing import CliRunner
from rich import progress as bars
from rich.console import Console

from metroline.app.cli import cli
from metroline.app.cli.kept_comparisons import progress_in
from metroline.app.cli.progress import bar_per_task
from metroline.app.inputs.recent_records import RecordsUsed
from metroline.app.operations.comparisons import Progress

BROKER = ["--broker", "kafka://127.0.0.1:1"]


def test_a_bar_whose_total_is_known_at_its_end_is_done_then() -> None:
    progress = bars.Progress(console=Console(file=io.StringIO()))
    told = bar_per_task(progress)

    told("loading the source", 2_000, 0)
    (bar,) = progress.tasks
    assert (bar.completed, bar.total, bar.finished) == (2_000, None, False)

    told("loading the source", 2_500, 2_500)
    told("signpost", 0, 2_500)
    assert (bar.total, bar.finished) == (2_500, True)
    assert [task.finished for task in progress.tasks] == [True, False]


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        (["--recent", "5"], "error: --recent: name the brokers of the line with --broker or BROKER_URL"),
        (["--recent", "5", "--records", "7", *BROKER], "error: --recent and --records: use one of them"),
        (["--recent", "5", "--pack", "2", *BROKER], "error: --recent and --pack: use one of them"),
        (["--recent", "20001", *BROKER], "20001 is not in the range 1<=x<=20000"),
        (["--run", "../x", *BROKER], "'../x' is no id of a comparison"),
    ],
)
def test_options_that_cannot_go_together_are_wrong_use(
    options: list[str], problem: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("BROKER_URL", raising=False)
    ended = CliRunner().invoke(cli, ["compare", *options])
    assert (ended.exit_code, ended.stdout) == (2, "")
    assert problem in ended.stderr.splitlines()[-1]


def test_a_worker_reads_the_progress_that_the_command_writes(tmp_path: Path) -> None:
    told: list[tuple[str, int, int]] = []
    used = RecordsUsed(7, 70, "the topic orders.source")
    report = progress_in(tmp_path / "progress.json", used, lambda *step: told.append(step))

    report("signpost", 0, 7)
    report("signpost", 3, 7)
    found = msgspec.json.decode((tmp_path / "progress.json").read_bytes(), type=Progress)
    assert (found.step, found.done, found.records) == ("signpost", 0, used), "it was written a moment ago"
    report("signpost", 7, 7)
    found = msgspec.json.decode((tmp_path / "progress.json").read_bytes(), type=Progress)
    assert (found.done, found.total) == (7, 7)
    assert [done for _, done, _ in told] == [0, 3, 7]
