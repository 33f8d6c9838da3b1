"""The table that `metroline compare` prints."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from metroline.app.compare.comparison import Comparison, Run
from metroline.app.compare.figures import NOT_MEASURED

HEADS = (
    "delivered",
    "dropped",
    "dead",
    "dupl.",
    "records\n/s",
    "hops\n/rec.",
    "msgs\n/rec.",
    "bytes\n/rec.",
    "CPU-s\n/10k",
)
AT_RATE = ("p50\nms", "p99\nms")


def print_comparison(comparison: Comparison, console: Console, results: Path | None = None) -> None:
    """Print the figures of each strategy, the strategies that did not keep up, and records with different outcomes.

    `results` is the folder to which the outcome of every record was written, if there is one.
    """
    console.print(_table(comparison))
    for finding in comparison.findings():
        console.print(finding, style="yellow", soft_wrap=True)
    for difference in comparison.differences:
        console.print(f"different: {difference}", style="red", soft_wrap=True)
    for service in comparison.unsteady:
        console.print(f"not compared: {service}", style="yellow", soft_wrap=True)
    if comparison.same_outcome:
        apart = ", apart from what is not compared" if comparison.unsteady else ""
        console.print(f"{_agreement(comparison)}{apart}, every sum adds up", soft_wrap=True)
    if results is not None:
        console.print(f"results: the outcome of every record is in {results}", soft_wrap=True)
    elif any(run.dead for run in comparison.runs):
        console.print(
            "dead: --results DIR writes the outcome of every record, with the reason of each dead letter",
            soft_wrap=True,
        )


def _agreement(comparison: Comparison) -> str:
    strategies = comparison.strategies
    ways = ", with chaining and without" if len(comparison.runs) > strategies else ""
    if strategies == 1:
        return f"same outcome: every record went the same way{ways}" if ways else "one strategy was run"
    return f"same outcome: every record went the same way under {strategies} strategies{ways}"


def _table(comparison: Comparison) -> Table:
    title = f"{comparison.line}: {comparison.records:,} records, {comparison.broker} broker"
    table = Table(title=title, box=SIMPLE_HEAD, padding=0)
    table.add_column("strategy", no_wrap=True)
    at_rate = _heads_at_rate(comparison)
    for head in [*HEADS, *at_rate]:
        table.add_column(head, justify="right", no_wrap=True)
    for run in comparison.runs:
        table.add_row(*_cells(run), *(_at_rate(run) if at_rate else ()))
    return table


def _heads_at_rate(comparison: Comparison) -> tuple[str, ...]:
    """Return the heads of what was measured at a rate; none if nothing was."""
    if any(run.highest_rate is not None for run in comparison.runs):
        return (*AT_RATE, "highest\nrate/s")
    return (*AT_RATE, "kept\nup") if any(run.pace for run in comparison.runs) else ()


def _cells(run: Run) -> Iterator[str]:
    yield run.name
    yield f"{run.delivered:,}"
    yield f"{run.dropped:,}"
    yield f"{run.dead:,}"
    yield f"{run.duplicates:,}"
    yield f"{run.records_per_second:,.0f}"
    yield f"{run.hops_per_record:.2f}"
    yield f"{run.bus_messages_per_record:.3f}"
    yield f"{run.bus_bytes_per_record:,.0f}"
    yield f"{run.cpu_seconds_per_10k:.2f}"


def _at_rate(run: Run) -> Iterator[str]:
    latency = run.latency_ms
    yield NOT_MEASURED if latency is None else f"{latency.p50:,.1f}"
    yield NOT_MEASURED if latency is None else f"{latency.p99:,.1f}"
    if run.highest_rate is not None:
        yield f"{run.highest_rate:,g}" if run.highest_rate else "none"
    elif run.pace is not None:
        yield "yes" if run.pace.kept_up else f"no: {100 * run.pace.share:.0f} %"
