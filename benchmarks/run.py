"""`make bench`: runs systems side by side, round by round, and keeps the raw results for `benchmarks.report`."""

from __future__ import annotations

import shlex
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path

import click

from benchmarks.live.settings import RATES, SECONDS, LiveSettings
from benchmarks.report.machine import describe_machine
from benchmarks.report.report import render
from benchmarks.report.results import Results
from benchmarks.systems import trials
from benchmarks.systems.brokers import BrokerUnavailable, Testbed, running_testbed
from benchmarks.systems.expected import make_workload
from benchmarks.systems.sections import LIGHT, SECTIONS, SYSTEM_FAILURES, Plan, run_section
from benchmarks.systems.strategy import Strategy
from benchmarks.systems.systems import SYSTEMS

WARM_UP_RECORDS = 30_000
ALL_SYSTEMS = [system.name for system in SYSTEMS]
BROKERS = ("embedded", "kafka")


def choices_of(known: Iterable[str], noun: str) -> Callable[[click.Context, click.Parameter, str], list[str]]:
    """Return a callback for an option that takes some of these names, separated by commas."""
    all_names = list(known)

    def read(context: click.Context, parameter: click.Parameter, value: str) -> list[str]:
        chosen = [name.strip() for name in value.split(",") if name.strip()]
        if unknown := sorted(set(chosen) - set(all_names)):
            raise click.BadParameter(f"there is no {noun} {unknown[0]!r}; choose from {', '.join(all_names)}")
        return [name for name in all_names if name in chosen]

    return read


def numbers(context: click.Context, parameter: click.Parameter, value: str) -> list[float]:
    """Return the numbers in the value of an option, separated by commas; each must be at least 1."""
    try:
        found = [float(word) for word in value.split(",") if word.strip()]
    except ValueError:
        raise click.BadParameter(f"{value!r} is not a list of numbers") from None
    if any(number < 1 for number in found):
        raise click.BadParameter("each number must be at least 1")
    return found


@click.command()
@click.option("--records", default=100_000, show_default=True, help="Records per trial; slow systems get fewer.")
@click.option("--rounds", default=3, show_default=True, help="Rounds in which CPU time and speed are measured.")
@click.option("--brokers", default=",".join(BROKERS), show_default=True, callback=choices_of(BROKERS, "broker"))
@click.option(
    "--systems", default=",".join(ALL_SYSTEMS), callback=choices_of(ALL_SYSTEMS, "system"), help="Default: all."
)
@click.option("--sections", default=",".join(SECTIONS), show_default=True, callback=choices_of(SECTIONS, "section"))
@click.option(
    "--rates",
    default=",".join(f"{rate:g}" for rate in RATES),
    show_default=True,
    callback=numbers,
    help="Records per second of the section `live`.",
)
@click.option(
    "--seconds", type=click.FloatRange(min=1), default=SECONDS, show_default=True, help="Seconds per rate of `live`."
)
@click.option(
    "--partitions",
    default="",
    callback=numbers,
    help="Partitions of the section `live`. Default: 4 and 12 on Apache Kafka, 4 on the embedded broker.",
)
@click.option(
    "--results",
    "folder",
    type=click.Path(file_okay=False, path_type=Path),
    help="Folder of the raw results. Default: benchmarks/results, from which RESULTS.md is rendered.",
)
def bench(
    records: int,
    rounds: int,
    brokers: list[str],
    systems: list[str],
    sections: list[str],
    rates: list[float],
    seconds: float,
    partitions: list[float],
    folder: Path | None,
) -> None:
    """Measure Metroline's strategies and the peers on the same records, and render benchmarks/RESULTS.md.

    A run replaces earlier results of the same section, broker and system; all others stay.

    \b
    Examples:
    python -m benchmarks.run --sections live --brokers kafka --partitions 12 --rates 100,1000 --seconds 4
    python -m benchmarks.run --sections latency --systems signpost,quix_streams --brokers kafka
    """
    results = Results(folder) if folder else Results()
    results.write_machine(describe_machine())
    live = LiveSettings(tuple(rates) or RATES, seconds, tuple(map(int, partitions)) or None)
    plan = Plan(records, rounds, [system for system in SYSTEMS if system.name in systems], live)
    command = shlex.join(["python", "-m", "benchmarks.run", *sys.argv[1:]])
    started_at = time.monotonic()
    for broker in brokers:
        try:
            with running_testbed(broker) as testbed:
                warm_up(testbed)
                for section in sections:
                    run_section(plan.measurements(section, broker), testbed, results, command)
        except BrokerUnavailable as unavailable:
            click.echo(f"left out: {unavailable}", err=True)
    click.echo(f"done in {(time.monotonic() - started_at) / 60:.0f} minutes")
    if folder is None:
        click.echo(f"written: {render(results)}")


def warm_up(testbed: Testbed) -> None:
    """Take records through a line without counting them: a JVM is slow until it has compiled the code it runs often."""
    started_at = time.monotonic()
    try:
        trials.throughput(Strategy(LIGHT[0]), testbed, make_workload(WARM_UP_RECORDS))
    except SYSTEM_FAILURES as failure:  # the measurements that follow report the same failure
        click.echo(f"{testbed.broker.name} warm-up: {failure}", err=True)
    click.echo(f"{testbed.broker.name} warm-up ({time.monotonic() - started_at:.0f} s)")


if __name__ == "__main__":
    bench()
