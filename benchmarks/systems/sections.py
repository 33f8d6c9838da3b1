"""The sections of `make bench`: the trials that each makes of each system, and how they are run in rounds."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial

import click
import psutil
from aiokafka.errors import KafkaError
from confluent_kafka import KafkaException

from benchmarks.live.section import live
from benchmarks.live.settings import LiveSettings
from benchmarks.report.results import Entry, Results, new_entry
from benchmarks.systems import trials
from benchmarks.systems.brokers import Testbed
from benchmarks.systems.expected import make_workload
from benchmarks.systems.made_lines import HARDER, MadeLine, passing
from benchmarks.systems.profiling import profile
from benchmarks.systems.strategy import Strategy
from benchmarks.systems.system import System
from metroline.routing.errors import MetrolineError

PACK = 49
"""Records per source message in the section `packed`."""
STOPS = (3, 12)
RATE_PER_SECOND = 100.0
LATENCY_SECONDS = 20
KILLED_MAX_RECORDS = 40_000
HARDER_MAX_RECORDS = 30_000
STOPS_MAX_RECORDS = 50_000
STOPS_MAX_ROUNDS = 2
LIGHT = ("signpost", "map_maker")
"""The strategies that are profiled, and measured without packing."""
SYSTEM_FAILURES = (MetrolineError, KafkaError, KafkaException, psutil.Error, OSError)
"""Errors that leave one system out without ending the run of the others."""


@dataclass(frozen=True, slots=True)
class Measurement:
    """A trial that is run once in each round."""

    section: str
    name: str
    """The name under which its results are kept."""
    run: Callable[[Testbed, int], trials.Figures]
    """Runs the trial on a testbed, given the number of the round."""
    rounds: int
    unavailable: str | None = None
    """The reason why the trial cannot be run."""


@dataclass(frozen=True, slots=True)
class Plan:
    """The records, rounds and systems of a run."""

    records: int
    rounds: int
    systems: Sequence[System]
    live_settings: LiveSettings = field(default_factory=LiveSettings)

    @property
    def strategies(self) -> Iterator[str]:
        return (system.name for system in self.systems if isinstance(system, Strategy))

    def measurements(self, section: str, broker: str) -> list[Measurement]:
        """Return the measurements of a section on a broker."""
        return list(SECTIONS[section](self, broker))

    def throughput(self, broker: str) -> Iterator[Measurement]:
        for system in self.systems:
            run = partial(_throughput, system, min(self.records, system.max_records))
            yield Measurement("throughput", system.name, run, self.rounds, system.unavailable())

    def packed(self, broker: str) -> Iterator[Measurement]:
        for name in self.strategies:
            run = partial(_throughput, Strategy(name), self.records, pack=PACK)
            yield Measurement("packed", name, run, self.rounds)

    def latency(self, broker: str) -> Iterator[Measurement]:
        for system in self.systems:
            yield Measurement("latency", system.name, partial(_latency, system), 1, system.unavailable())
        for name in self.strategies:
            if name in LIGHT:
                unpacked = Strategy(name, settings=(("PACK_RECORDS", "1"),))
                yield Measurement("latency", f"{name}/unpacked", partial(_latency, unpacked), 1)

    def killed(self, broker: str) -> Iterator[Measurement]:
        for system in self.systems:
            run = partial(_killed, system, min(self.records, system.max_records, KILLED_MAX_RECORDS))
            yield Measurement("killed", system.name, run, 1, system.unavailable())

    def stops(self, broker: str) -> Iterator[Measurement]:
        for stops in STOPS:
            for name in self.strategies:
                run = partial(_made_line, passing(stops), name, min(self.records, STOPS_MAX_RECORDS))
                yield Measurement("stops", f"{name}/{stops}", run, min(self.rounds, STOPS_MAX_ROUNDS))

    def harder(self, broker: str) -> Iterator[Measurement]:
        for make in HARDER:
            line = make()
            for name in self.strategies:
                run = partial(_made_line, line, name, min(self.records, HARDER_MAX_RECORDS))
                yield Measurement("harder", f"{name}/{line.name}", run, 1)

    def profile(self, broker: str) -> Iterator[Measurement]:
        for name in self.strategies:
            if name in LIGHT:
                yield Measurement("profile", name, partial(_profile, Strategy(name), self.records), 1)

    def live(self, broker: str) -> Iterator[Measurement]:
        for name, system, run in live(self.systems, self.live_settings, self.records, broker):
            yield Measurement("live", name, run, 1, system.unavailable())


SECTIONS: dict[str, Callable[[Plan, str], Iterator[Measurement]]] = {
    "live": Plan.live,
    "throughput": Plan.throughput,
    "packed": Plan.packed,
    "latency": Plan.latency,
    "killed": Plan.killed,
    "stops": Plan.stops,
    "harder": Plan.harder,
    "profile": Plan.profile,
}


def _throughput(system: System, records: int, testbed: Testbed, number: int, pack: int = 1) -> trials.Figures:
    return trials.throughput(system, testbed, make_workload(records, pack), counts_bus=number == 0)


def _latency(system: System, testbed: Testbed, number: int) -> trials.Figures:
    workload = make_workload(int(RATE_PER_SECOND * LATENCY_SECONDS))
    return trials.latency(system, testbed, workload, RATE_PER_SECOND)


def _killed(system: System, records: int, testbed: Testbed, number: int) -> trials.Figures:
    return trials.killed(system, testbed, make_workload(records))


def _made_line(line: MadeLine, strategy: str, records: int, testbed: Testbed, number: int) -> trials.Figures:
    system = Strategy(strategy, str(line.write(testbed.folder)), line.first_stops)
    return trials.throughput(system, testbed, line.workload(records))


def _profile(system: System, records: int, testbed: Testbed, number: int) -> trials.Figures:
    return profile(system, testbed, make_workload(records))


def run_section(measurements: Sequence[Measurement], testbed: Testbed, results: Results, command: str) -> None:
    """Run round 1 of each measurement, then round 2 of each, and so on.

    A system that fails or is not available is named and left out of the following rounds.
    """
    entries: dict[str, Entry] = {each.name: new_entry(command) for each in measurements}
    for number in range(max((each.rounds for each in measurements), default=0)):
        for each in measurements:
            entry = entries[each.name]
            if number < each.rounds and "left_out" not in entry:
                _run_once(each, testbed, number, entry)
                results.write(each.section, testbed.broker.name, each.name, entry)


def _run_once(measurement: Measurement, testbed: Testbed, number: int, entry: Entry) -> None:
    title = f"{testbed.broker.name} {measurement.section} {measurement.name}, round {number + 1}"
    started_at = time.monotonic()
    try:
        if measurement.unavailable:
            raise MetrolineError(measurement.unavailable)
        figures = measurement.run(testbed, number)
        entry["rounds"].append(figures)
        result = ", ".join(f"{key} {value}" for key, value in figures.items() if isinstance(value, int | float))
    except SYSTEM_FAILURES as failure:
        entry["left_out"] = f"round {number + 1}: {failure}" if number else str(failure) or type(failure).__name__
        result = f"left out: {failure}"
    click.echo(f"{title}: {result} ({time.monotonic() - started_at:.0f} s)")
