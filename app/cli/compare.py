"""`metroline compare` and `metroline demo`: the strategies side by side."""

from __future__ import annotations

import asyncio
import datetime
import os
import shlex
import signal
import sys
import tempfile
import time
from pathlib import Path

import click
from click.core import ParameterSource
from rich.console import Console
from rich.progress import MofNCompleteColumn

from metroline.agents.services.line import Line
from metroline.app.cli.comparison_table import print_comparison
from metroline.app.cli.console import safe_console
from metroline.app.cli.kept_comparisons import keep_comparison, progress_in, recent_records
from metroline.app.cli.options import (
    NEW_FILE,
    RULES_FILE,
    RecordsCommand,
    broker_option,
    json_option,
    line_option,
    read_table,
    records_option,
    seed_option,
    write_json,
    write_text,
)
from metroline.app.cli.progress import progress_bars
from metroline.app.cli.rate import HIGHEST, FiniteRange, RateType
from metroline.app.cli.reading_options import reading_options
from metroline.app.cli.target_broker import TargetBroker, target_broker
from metroline.app.compare.comparison import Comparison
from metroline.app.compare.plan import RATE_SECONDS, Plan, RunFailed
from metroline.app.compare.report import render
from metroline.app.compare.runner import ComparisonRun
from metroline.app.inputs.recent_records import MAX_RECORDS, RecentRecords
from metroline.app.inputs.row_files import Reading
from metroline.app.inputs.source_records import check_records, readable_again
from metroline.app.operations.comparison_runs import RUN_ID, machine_facts
from metroline.app.settings import Settings
from metroline.routing.errors import UsageError
from metroline.routing.rules.network import Network
from metroline.routing.strategies import STRATEGIES, strategy_named


class RunId(click.ParamType):
    """The id of a comparison, as topics are named by it."""

    name = "id"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> str:
        if not RUN_ID.fullmatch(str(value)):
            self.fail(f"{value!r} is no id of a comparison", param, ctx)
        return str(value)


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
    type=FiniteRange(1, 3600),
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
@click.option(
    "--recent",
    type=click.IntRange(1, MAX_RECORDS),
    help="Compare on this number of the latest records of the line's own source, instead of --records. The services of "
    "the line are called with them again.",
)
@click.option(
    "--keep/--no-keep",
    "keeps",
    default=True,
    show_default=True,
    help="Keep the comparison on the line's own brokers, where the pages of its workers show it. On other brokers, and "
    "on the embedded one, nothing is kept.",
)
@click.option(
    "--rules",
    "rules_file",
    type=RULES_FILE,
    help="Rules table to compare by. Default: the `routes.toml` of the line.",
)
@click.option("--run", type=RunId(), hidden=True, help="Id of the comparison.")
@click.option("--progress", type=NEW_FILE, hidden=True, help="Write the progress to this file.")
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
    recent: int | None,
    keeps: bool,
    rules_file: Path | None,
    run: str | None,
    progress: Path | None,
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
    settings = Settings.read(line=line)
    where, began = settings.line, time.time()
    check_records(records)
    _check_recent(recent, broker, pack)
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
            recent=_recent(settings, target, recent),
            rules=None if rules_file is None else read_table(rules_file),
            rules_name=str(rules_file or ""),
            run=run or "",
        )
        comparison = _run(plan, target, Path(folder), console, progress)
        if keeps and target.embedded is None:
            _keep(comparison, plan, settings, target, began)
    if json_file is not None:
        write_json(comparison.as_json(), json_file)
    if html_file is not None:
        write_text(_report(comparison, plan.load_line()), html_file)
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


def _check_recent(recent: int | None, broker: str | None, pack: int) -> None:
    """Raise `UsageError` if there is nowhere to read recent records, or if they cannot be sent as asked."""
    if recent is None:
        return
    if not (broker or os.environ.get("BROKER_URL")):
        raise UsageError("--recent: name the brokers of the line with --broker or BROKER_URL")
    source = click.get_current_context().get_parameter_source("records")
    if source is ParameterSource.COMMANDLINE:
        raise UsageError("--recent and --records: use one of them")
    if pack > 1:
        raise UsageError("--recent and --pack: use one of them, since each record keeps the key of its message")


def _recent(settings: Settings, target: TargetBroker, count: int | None) -> RecentRecords | None:
    if count is None:
        return None
    return asyncio.run(recent_records(settings, Line.load(settings.line), target.cluster, count))


def _keep(comparison: Comparison, plan: Plan, settings: Settings, target: TargetBroker, began: float) -> None:
    line = plan.load_line()
    asyncio.run(keep_comparison(comparison, plan, settings, line, target.cluster, _command(), began))


def _run(plan: Plan, target: TargetBroker, folder: Path, console: Console, progress: Path | None) -> Comparison:
    with progress_bars(console, MofNCompleteColumn()) as shown:
        used = None if plan.recent is None else plan.recent.used
        report = shown if progress is None else progress_in(progress, used, shown)
        return asyncio.run(_until_terminated(ComparisonRun(plan, target.cluster, folder, report, target.check)))


async def _until_terminated(comparison: ComparisonRun) -> Comparison:
    """Run a comparison. SIGTERM ends it in order: its workers end, and its topics are deleted."""
    running = asyncio.ensure_future(comparison.run())
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, running.cancel)
    try:
        return await running
    except asyncio.CancelledError:
        this = asyncio.current_task()
        if this is not None and this.cancelling():
            raise  # by Ctrl-C
        raise RunFailed("the comparison was ended by SIGTERM; its topics are deleted") from None


def _command() -> str:
    return " ".join(["metroline", *map(shlex.quote, sys.argv[1:])])


def _report(comparison: Comparison, line: Line) -> str:
    facts = machine_facts(comparison.broker)
    return render(comparison, Network.of(line.rules_table()), _command(), datetime.datetime.now(datetime.UTC), facts)
