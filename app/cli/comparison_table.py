"""The table that `metroline compare` prints."""

from __future__ import annotations

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from metroline.app.compare.comparison import Comparison

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
LATENCIES = ("p50", "p99")


def print_comparison(comparison: Comparison, console: Console) -> None:
    """Print the figures of each strategy, and each record with different outcomes."""
    console.print(_table(comparison))
    for difference in comparison.differences:
        console.print(f"different: {difference}", style="red", markup=False)
    if comparison.same_outcome:
        console.print(
            f"same outcome: every record went the same way under {len(comparison.runs)} strategies, every sum adds up"
        )
    if any(run.dead for run in comparison.runs):
        console.print("dead: --results DIR writes the outcome of every record, with the reason of each dead letter")


def _table(comparison: Comparison) -> Table:
    title = f"{comparison.line}: {comparison.records:,} records, {comparison.broker} broker"
    table = Table(title=title, box=SIMPLE_HEAD, padding=0)
    table.add_column("strategy", no_wrap=True)
    latencies = LATENCIES if any(run.latency_ms for run in comparison.runs) else ()
    for head in [*HEADS, *(f"{name}\nms" for name in latencies)]:
        table.add_column(head, justify="right", no_wrap=True)
    for run in comparison.runs:
        table.add_row(
            run.strategy,
            f"{run.delivered:,}",
            f"{run.dropped:,}",
            f"{run.dead:,}",
            f"{run.duplicates:,}",
            f"{run.records_per_second:,.0f}",
            f"{run.hops_per_record:.2f}",
            f"{run.bus_messages_per_record:.3f}",
            f"{run.bus_bytes_per_record:,.0f}",
            f"{run.cpu_seconds_per_10k:.2f}",
            *([] if run.latency_ms is None else [f"{run.latency_ms.p50:.1f}", f"{run.latency_ms.p99:.1f}"]),
        )
    return table
