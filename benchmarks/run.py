"""`make bench`: runs systems side by side, round by round, and keeps the raw results for `benchmarks.report`."""

from __future__ import annotations

import shlex
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import click
import psutil
from aiokafka.errors import KafkaError
from confluent_kafka import KafkaException

from benchmarks.report.report import render
from benchmarks.report.results import Entry, Results, made
from benchmarks.systems import trials
from benchmarks.systems.brokers import BrokerUnavailable, Place, running
from benchmarks.systems.expected import make_work
from benchmarks.systems.made_lines import HARDER, MadeLine, passing
from benchmarks.systems.profiling import profiled
from benchmarks.systems.systems import SYSTEMS, Strategy, System
from metroline.routing.errors import MetrolineError
from metroline.routing.strategies import STRATEGIES

PACK = 49
"""Records in a source message of the section `packed`."""
STOPS = (3, 12)
WARM_UP_RECORDS = 30_000
RATE = 100.0
LATENCY_SECONDS = 20
KILLED_MOST = 40_000
HARDER_MOST = 30_000
STOPS_MOST = 50_000
PROFILED = LIGHT = ("signpost", "map_maker")
FAILURES = (MetrolineError, KafkaError, KafkaException, psutil.Error, OSError)
"""What leaves one system out and does not end the run of the others."""
SECTIONS = ("throughput", "packed", "latency", "killed", "stops", "harder", "profile")


@dataclass(frozen=True, slots=True)
class Measurement:
    """One trial to make, as often as there are rounds."""

    section: str
    name: str
    """Under which it is kept."""
    run: Callable[[Place, int], trials.Figures]
    """On a broker, in a round."""
    rounds: int
    missing: str | None = None


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a command asked for."""

    records: int
    rounds: int
    systems: Sequence[System]

    @property
    def strategies(self) -> Iterator[str]:
        return (system.name for system in self.systems if isinstance(system, Strategy))

    def measurements(self, section: str) -> Iterable[Measurement]:
        return getattr(self, section)()  # type: ignore[no-any-return]

    def throughput(self) -> Iterator[Measurement]:
        for system in self.systems:
            run = partial(self._throughput, system, min(self.records, system.most))
            yield Measurement("throughput", system.name, run, self.rounds, system.missing())

    def packed(self) -> Iterator[Measurement]:
        for name in self.strategies:
            yield Measurement("packed", name, partial(self._packed, Strategy(name)), self.rounds)

    def latency(self) -> Iterator[Measurement]:
        for system in self.systems:
            yield Measurement("latency", system.name, partial(self._latency, system), 1, system.missing())
        for name in self.strategies:
            if name in LIGHT:
                unpacked = Strategy(name, more=(("PACK_RECORDS", "1"),))
                yield Measurement("latency", f"{name}/unpacked", partial(self._latency, unpacked), 1)

    def killed(self) -> Iterator[Measurement]:
        for system in self.systems:
            run = partial(self._killed, system, min(self.records, system.most, KILLED_MOST))
            yield Measurement("killed", system.name, run, 1, system.missing())

    def stops(self) -> Iterator[Measurement]:
        for stops in STOPS:
            for name in self.strategies:
                run = partial(self._made, passing(stops), name, min(self.records, STOPS_MOST))
                yield Measurement("stops", f"{name}/{stops}", run, min(self.rounds, 2))

    def harder(self) -> Iterator[Measurement]:
        for make in HARDER:
            line = make()
            for name in self.strategies:
                run = partial(self._made, line, name, min(self.records, HARDER_MOST))
                yield Measurement("harder", f"{name}/{line.name}", run, 1)

    def profile(self) -> Iterator[Measurement]:
        for name in self.strategies:
            if name in PROFILED:
                yield Measurement("profile", name, partial(self._profile, Strategy(name)), 1)

    def _throughput(self, system: System, records: int, place: Place, number: int) -> trials.Figures:
        return trials.throughput(system, place, make_work(records), counts_bus=number == 0)

    def _packed(self, system: System, place: Place, number: int) -> trials.Figures:
        return trials.throughput(system, place, make_work(self.records, PACK), counts_bus=number == 0)

    def _latency(self, system: System, place: Place, number: int) -> trials.Figures:
        return trials.latency(system, place, make_work(int(RATE * LATENCY_SECONDS)), RATE)

    def _killed(self, system: System, records: int, place: Place, number: int) -> trials.Figures:
        return trials.killed(system, place, make_work(records))

    def _made(self, line: MadeLine, strategy: str, records: int, place: Place, number: int) -> trials.Figures:
        system = Strategy(strategy, str(line.write(place.folder)), line.first_stops)
        return trials.throughput(system, place, line.work(records))

    def _profile(self, system: System, place: Place, number: int) -> trials.Figures:
        return profiled(system, place, make_work(self.records))


def names(known: Iterable[str], what: str) -> Callable[[click.Context, click.Parameter, str], list[str]]:
    """Reads an option that is some of these names, with commas."""
    all_names = list(known)

    def read(context: click.Context, parameter: click.Parameter, value: str) -> list[str]:
        wanted = [name.strip() for name in value.split(",") if name.strip()]
        if unknown := sorted(set(wanted) - set(all_names)):
            raise click.BadParameter(f"there is no {what} {unknown[0]!r}; there are {', '.join(all_names)}")
        return [name for name in all_names if name in wanted]

    return read


ALL_SYSTEMS = [system.name for system in SYSTEMS]


@click.command()
@click.option("--records", default=100_000, show_default=True, help="For each trial; slow systems get fewer.")
@click.option("--rounds", default=3, show_default=True, help="Of what CPU time and speed are measured with.")
@click.option("--brokers", default="embedded,kafka", show_default=True, callback=names(["embedded", "kafka"], "broker"))
@click.option("--systems", default=",".join(ALL_SYSTEMS), callback=names(ALL_SYSTEMS, "system"), help="Default: all.")
@click.option("--sections", default=",".join(SECTIONS), show_default=True, callback=names(SECTIONS, "section"))
@click.option(
    "--results",
    "folder",
    type=click.Path(file_okay=False, path_type=Path),
    help="Where raw results are kept. Default: benchmarks/results, from which RESULTS.md is rendered.",
)
def bench(
    records: int, rounds: int, brokers: list[str], systems: list[str], sections: list[str], folder: Path | None
) -> None:
    """Measures Metroline's strategies and the peers on the same records, and renders benchmarks/RESULTS.md.

    What is run takes the place of earlier results of the same section, broker and system; all others stay.

    \b
    Example: python -m benchmarks.run --sections latency --systems signpost,quix_streams --brokers kafka
    """
    results = Results(folder) if folder else Results()
    results.write_machine()
    wanted = Wanted(records, rounds, [system for system in SYSTEMS if system.name in systems])
    command = shlex.join(["python", "-m", "benchmarks.run", *sys.argv[1:]])
    began = time.monotonic()
    for broker in brokers:
        try:
            with running(broker) as place:
                warm_up(place)
                for section in sections:
                    run_section(list(wanted.measurements(section)), place, results, command)
        except BrokerUnavailable as missing:
            click.echo(f"left out: {missing}", err=True)
    click.echo(f"done in {(time.monotonic() - began) / 60:.0f} minutes")
    if folder is None:
        click.echo(f"written: {render(results)}")


def warm_up(place: Place) -> None:
    """Takes some records through a line, which count nowhere: a JVM is slow until what it runs often is compiled."""
    began = time.monotonic()
    try:
        trials.throughput(Strategy(LIGHT[0]), place, make_work(WARM_UP_RECORDS))
    except FAILURES as failure:  # the runs that follow will tell the same
        click.echo(f"{place.broker.name} warm-up: {failure}", err=True)
    click.echo(f"{place.broker.name} warm-up ({time.monotonic() - began:.0f} s)")


def run_section(measurements: Sequence[Measurement], place: Place, results: Results, command: str) -> None:
    """Round 1 of each, then round 2 of each, and so on; what fails or is missing is named and left out."""
    entries: dict[str, Entry] = {each.name: made(command) | {"rounds": []} for each in measurements}
    for number in range(max((each.rounds for each in measurements), default=0)):
        for each in measurements:
            entry = entries[each.name]
            if number < each.rounds and "left_out" not in entry:
                _run_once(each, place, number, entry)
                results.write(each.section, place.broker.name, each.name, entry)


def _run_once(each: Measurement, place: Place, number: int, entry: Entry) -> None:
    what = f"{place.broker.name} {each.section} {each.name}, round {number + 1}"
    began = time.monotonic()
    try:
        if each.missing:
            raise MetrolineError(each.missing)
        figures = each.run(place, number)
        entry["rounds"].append(figures)
        told = ", ".join(f"{key} {value}" for key, value in figures.items() if isinstance(value, int | float))
    except FAILURES as failure:
        entry["left_out"] = f"round {number + 1}: {failure}" if number else str(failure) or type(failure).__name__
        told = f"left out: {failure}"
    click.echo(f"{what}: {told} ({time.monotonic() - began:.0f} s)")


assert set(PROFILED) <= set(STRATEGIES)

if __name__ == "__main__":
    bench()
