"""`metroline compare` and `metroline demo`: the strategies side by side."""

from __future__ import annotations

import asyncio
import datetime
import os
import platform
import shlex
import sys
import tempfile
from pathlib import Path

import click
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.progress import MofNCompleteColumn
from rich.table import Table

from metroline.agents.services.line import Line
from metroline.app.cli import cli
from metroline.app.cli.options import (
    Reached,
    broker_option,
    json_option,
    line_option,
    reached_broker,
    records_option,
    seed_option,
    write_json,
)
from metroline.app.cli.progress import progress_bars
from metroline.app.compare.comparison import Comparison
from metroline.app.compare.report import render
from metroline.app.compare.runner import Comparing, Plan
from metroline.app.settings import Settings
from metroline.routing.rules.network import Network
from metroline.routing.strategies import STRATEGIES, strategy_named

FOLDER = click.Path(file_okay=False, path_type=Path)
WIDTH = 140
FILE = click.Path(dir_okay=False, writable=True, path_type=Path)


@cli.command()
@line_option
@records_option("10000")
@click.option(
    "--strategies",
    metavar="NAME,...",
    default=",".join(STRATEGIES),
    show_default=True,
    help="Those that are compared, in this order.",
)
@broker_option
@click.option(
    "--rate", type=click.FloatRange(min=0.1), help="Also measures the latency, with so many records a second coming in."
)
@click.option(
    "--workers", type=click.IntRange(1, 64), default=1, show_default=True, help="Worker processes for each strategy."
)
@click.option(
    "--partitions", type=click.IntRange(1, 1000), default=4, show_default=True, help="Partitions of the source topic."
)
@click.option(
    "--pack",
    type=click.IntRange(1, 10_000),
    default=1,
    show_default=True,
    help="Records in a source message, one a line.",
)
@seed_option
@json_option("the figures")
@click.option("--html", "html_file", type=FILE, help="Writes a report to this file, which needs no other.")
@click.option(
    "--results", type=FOLDER, help="Writes what became of every record to this folder, one file for each strategy."
)
def compare(
    line: str | None,
    records: str,
    strategies: str,
    broker: str | None,
    rate: float | None,
    workers: int,
    partitions: int,
    pack: int,
    seed: int,
    json_file: Path | None,
    html_file: Path | None,
    results: Path | None,
) -> None:
    """Compares what the strategies cost on the same records.

    Each strategy in turn runs them through the line, on worker processes and topics of its own, which are deleted at
    the end. It exits with 1 if a record had another outcome under one of the strategies, or if sent = delivered +
    dropped + dead does not hold.

    \b
    Example: metroline compare --line orders --records orders.csv --html report.html
    """
    names = tuple(strategy_named(name.strip()).name for name in strategies.split(",") if name.strip())
    where = line or Settings.read().line
    if results is not None:
        results.mkdir(parents=True, exist_ok=True)
    console = _console(to_stderr=str(json_file) == "-")
    with reached_broker(broker) as reached, tempfile.TemporaryDirectory(prefix="metroline-") as folder:
        plan = Plan(
            where,
            records,
            names,
            reached.url,
            reached.name,
            reached.environment,
            rate,
            results,
            partitions,
            workers,
            seed,
            pack,
        )
        comparison = _run(plan, reached, Path(folder), console)
    if json_file is not None:
        write_json(comparison.as_json(), json_file)
    if html_file is not None:
        html_file.write_text(_report(comparison, Line.load(where)), "utf-8")
    show(comparison, console)
    if html_file is not None:
        console.print(f"report: {html_file}")
    if not comparison.same_outcome:
        raise SystemExit(1)


@cli.command()
@click.option("--records", metavar="N", default="20000", show_default=True, help="How many records.")
@click.option(
    "--html",
    "html_file",
    type=FILE,
    default=Path("comparison.html"),
    show_default=True,
    help="Writes the report to this file.",
)
@click.pass_context
def demo(context: click.Context, records: str, html_file: Path) -> None:
    """Compares the four strategies on the example line.

    It runs on an embedded broker, unless BROKER_URL is set in the environment; it prints a table of what each strategy
    cost, and writes a report with charts and the map of the line.

    \b
    Example: metroline demo
    """
    context.invoke(
        compare,
        line="metroline.agents.lines.metrobus",
        records=records,
        html_file=html_file,
        strategies=",".join(STRATEGIES),
        workers=1,
        partitions=4,
        pack=1,
        seed=1,
    )


def _console(*, to_stderr: bool) -> Console:
    """Off a terminal a line is as long as the table needs."""
    console = Console(stderr=to_stderr)
    return console if console.is_terminal else Console(stderr=to_stderr, width=WIDTH)


def _run(plan: Plan, reached: Reached, folder: Path, console: Console) -> Comparison:
    with progress_bars(console, MofNCompleteColumn()) as told:
        return asyncio.run(Comparing(plan, reached.cluster, folder, told, reached.check).run())


def _report(comparison: Comparison, line: Line) -> str:
    command = " ".join(["metroline", *map(shlex.quote, sys.argv[1:])])
    environment = {
        "machine": f"{platform.system()} {platform.machine()}, {os.cpu_count()} CPUs",
        "Python": platform.python_version(),
        "broker": comparison.broker,
    }
    return render(
        comparison.as_json(), Network.of(line.rules_table()), command, datetime.datetime.now(datetime.UTC), environment
    )


def show(comparison: Comparison, console: Console) -> None:
    """Prints the comparison as a table."""
    title = f"{comparison.line}: {comparison.records:,} records, {comparison.broker} broker"
    table = Table(title=title, box=SIMPLE_HEAD, padding=0)
    table.add_column("strategy", no_wrap=True)
    with_latency = any(run.latency_ms for run in comparison.runs)
    heads = ["delivered", "dropped", "dead", "dupl.", "records\n/s", "hops\n/rec.", "msgs\n/rec.", "bytes\n/rec."]
    for head in [*heads, "CPU-s\n/10k", *(["p50\nms", "p99\nms"] if with_latency else [])]:
        table.add_column(head, justify="right", no_wrap=True)
    for run in comparison.runs:
        figures = [
            f"{run.delivered:,}",
            f"{run.dropped:,}",
            f"{run.dead:,}",
            f"{run.duplicates:,}",
            f"{run.records_per_second:,.0f}",
            f"{run.hops_per_record:.2f}",
            f"{run.bus_messages_per_record:.3f}",
            f"{run.bus_bytes_per_record:,.0f}",
            f"{run.cpu_seconds_per_10k:.2f}",
        ]
        latency = run.latency_ms or {}
        table.add_row(
            run.strategy, *figures, *([f"{latency.get(key, 0):.1f}" for key in ("p50", "p99")] if with_latency else [])
        )
    console.print(table)
    for difference in comparison.differences:
        console.print(f"different: {difference}", style="red", markup=False)
    if comparison.same_outcome:
        console.print(
            f"same outcome: every record went the same way under {len(comparison.runs)} strategies, every sum adds up"
        )
    if any(run.dead for run in comparison.runs):
        console.print("dead: --results DIR writes what became of every record, with the reason of each dead letter")
