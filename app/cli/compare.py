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
from rich.console import Console
from rich.progress import MofNCompleteColumn

from metroline.agents.services.line import Line
from metroline.app.cli.comparison_table import print_comparison
from metroline.app.cli.console import safe_console
from metroline.app.cli.options import (
    NEW_FILE,
    RecordsCommand,
    broker_option,
    json_option,
    line_option,
    records_option,
    seed_option,
    write_json,
    write_text,
)
from metroline.app.cli.progress import progress_bars
from metroline.app.cli.rate import HIGHEST, RateType
from metroline.app.cli.reading_options import reading_options
from metroline.app.cli.target_broker import TargetBroker, target_broker
from metroline.app.compare.comparison import Comparison
from metroline.app.compare.plan import RATE_SECONDS, Plan
from metroline.app.compare.report import render
from metroline.app.compare.runner import ComparisonRun
from metroline.app.inputs.row_files import Reading
from metroline.app.inputs.source_records import check_records, readable_again
from metroline.app.settings import Settings
from metroline.routing.rules.network import Network
from metroline.routing.strategies import STRATEGIES, strategy_named

FOLDER = click.Path(file_okay=False, path_type=Path)
WIDTH = 140
"""Characters in a line of output that does not go to a terminal."""


@click.command(cls=RecordsCommand)
@line_option
@records_option("10000")
@click.option(
    "--strategies",
    metavar="NAME,...",
    default=",".join(STRATEGIES),
    show_default=True,
    help="Strategies to compare, in this order.",
)
@broker_option
@click.option(
    "--rate",
    type=RateType(),
    help="Also measure each strategy while this number of records arrives per second, or `max` to search the highest "
    "rate that it holds: every record has its outcome in time, and 99 of 100 take at most 500 ms.",
)
@click.option(
    "--seconds",
    type=click.FloatRange(1, 3600),
    default=RATE_SECONDS,
    show_default=True,
    help="Seconds for which records arrive at a rate. If there are too few, the first ones come again.",
)
@click.option(
    "--chaining",
    is_flag=True,
    help="Measure each strategy twice: with every hop on the bus, and with stops of one worker that hand records on in "
    "memory. Default: every hop on the bus, since strategies differ by their hops.",
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
    help="Records in one source message, one per line.",
)
@seed_option
@reading_options
@json_option("the figures")
@click.option("--html", "html_file", type=NEW_FILE, help="Write a report to this file. It needs no other file.")
@click.option(
    "--results", type=FOLDER, help="Write the outcome of every record to this folder, one file for each strategy."
)
def compare(
    line: str | None,
    records: str,
    strategies: str,
    broker: str | None,
    rate: float | None,
    seconds: float,
    chaining: bool,
    workers: int,
    partitions: int,
    pack: int,
    seed: int,
    reading: Reading,
    json_file: Path | None,
    html_file: Path | None,
    results: Path | None,
) -> None:
    """Compare the cost of the strategies on the same records.

    Each strategy in turn runs the records through the line, with its own worker processes and topics. The topics are
    deleted at the end. The exit code is 1 if a record had another outcome under one of the strategies, or if sent =
    delivered + dropped + dead does not hold. A strategy that does not keep up with --rate is a finding: the table and
    the report say so, and the exit code is 0.

    \b
    Example: metroline compare --line orders --records orders.csv --html report.html
    """
    names = tuple(strategy_named(name.strip()).name for name in strategies.split(",") if name.strip())
    where = Settings.read(line=line).line
    check_records(records)
    if results is not None:
        results.mkdir(parents=True, exist_ok=True)
    console = _console(to_stderr=str(json_file) == "-")
    with (
        readable_again(records, reading) as (source, reading),
        target_broker(broker) as target,
        tempfile.TemporaryDirectory(prefix="metroline-") as folder,
    ):
        plan = Plan(
            where,
            source,
            names,
            target.url,
            target.name,
            target.environment,
            rate=None if rate == HIGHEST else rate,
            finds_highest_rate=rate == HIGHEST,
            seconds=seconds,
            chaining=chaining,
            results=results,
            partitions=partitions,
            workers=workers,
            seed=seed,
            pack=pack,
            reading=reading,
        )
        comparison = _run(plan, target, Path(folder), console)
    if json_file is not None:
        write_json(comparison.as_json(), json_file)
    if html_file is not None:
        write_text(_report(comparison, Line.load(where)), html_file)
    print_comparison(comparison, console, results)
    if html_file is not None:
        console.print(f"report: {html_file}", soft_wrap=True)
    if not comparison.same_outcome:
        raise SystemExit(1)


@click.command()
@click.option("--records", metavar="N", default="20000", show_default=True, help="Number of records.")
@click.option(
    "--html",
    "html_file",
    type=NEW_FILE,
    default=Path("comparison.html"),
    show_default=True,
    help="Write the report to this file.",
)
@json_option("the figures")
@click.pass_context
def demo(context: click.Context, records: str, html_file: Path, json_file: Path | None) -> None:
    """Compare the four strategies on the example line.

    The demo runs on an embedded broker, unless BROKER_URL is set in the environment. It prints a table with the cost of
    each strategy, and writes a report with charts and the map of the line.

    \b
    Example: metroline demo
    """
    context.invoke(
        compare,
        line="metroline.agents.lines.metrobus",
        records=records,
        html_file=html_file,
        json_file=json_file,
        strategies=",".join(STRATEGIES),
        workers=1,
        partitions=4,
        pack=1,
        seed=1,
        seconds=RATE_SECONDS,
    )


def _console(*, to_stderr: bool) -> Console:
    return safe_console(stderr=to_stderr, width=WIDTH)


def _run(plan: Plan, target: TargetBroker, folder: Path, console: Console) -> Comparison:
    with progress_bars(console, MofNCompleteColumn()) as report:
        return asyncio.run(ComparisonRun(plan, target.cluster, folder, report, target.check).run())


def _report(comparison: Comparison, line: Line) -> str:
    command = " ".join(["metroline", *map(shlex.quote, sys.argv[1:])])
    environment = {
        "machine": f"{platform.system()} {platform.machine()}, {os.cpu_count()} CPUs",
        "Python": platform.python_version(),
        "broker": comparison.broker,
    }
    return render(comparison, Network.of(line.rules_table()), command, datetime.datetime.now(datetime.UTC), environment)
