"""The measurements of the section `live`, and the names under which their results are kept.

A name is that of the system and of the row: `raw_confluent/12` on 12 partitions; `signpost/chained/12` and
`signpost/hops/12` for a strategy whose stops hand records on in memory or not; `signpost/chained/waiting` for one of
the further rows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial

from benchmarks.live.load import under_load
from benchmarks.live.row import Row
from benchmarks.live.settings import MAIN_PARTITIONS, MANY_PARTITIONS, LiveSettings
from benchmarks.live.stream import Stream
from benchmarks.systems import trials
from benchmarks.systems.brokers import Testbed
from benchmarks.systems.expected import make_workload
from benchmarks.systems.made_lines import waiting
from benchmarks.systems.strategy import Strategy
from benchmarks.systems.system import System
from benchmarks.systems.trials import Figures

PEERS = ("raw_confluent", "one_loop", "raw_aiokafka", "faststream_batch", "quix_streams", "plain_faust")
YARDSTICK = "raw_confluent"
CHAINING = {"chained": "on", "hops": "off"}
"""The name of a row, and the setting."""
FURTHER = ("conductor", "signpost", YARDSTICK)
"""The systems with further rows."""
PACK = 49
BACKLOG_MAX_RECORDS = 60_000
WAITING_RATES = (100.0, 120.0)
IDLE_RATE = 100.0

Run = Callable[[Testbed, int], Figures]
"""Runs a measurement on a testbed, given the number of the round."""
Named = Iterator[tuple[str, System, Run]]


def live(systems: Sequence[System], settings: LiveSettings, records: int, broker: str) -> Named:
    """Yield the name, the system and the run of each row."""
    for partitions in settings.partitions_on(broker):
        for name, system in variants(systems):
            yield f"{name}/{partitions}", system, partial(_row, system, partitions, settings)
    if broker != "kafka":
        return
    partitions = MAIN_PARTITIONS[broker]
    for name, system in variants([system for system in systems if system.name in FURTHER]):
        count = min(records, system.max_records, BACKLOG_MAX_RECORDS)
        yield f"{name}/backlog", system, partial(_backlog, system, partitions, count, 1)
        if not isinstance(system, Strategy):
            continue
        yield f"{name}/packed", system, partial(_backlog, system, partitions, count, PACK)
        if system.name == "signpost":
            yield f"{name}/waiting", system, partial(_waiting, system, partitions, settings)
            yield f"{name}/idle", system, partial(_idle, system, partitions, settings)
            yield f"{name}/many", system, partial(_idle, system, MANY_PARTITIONS, settings)


def variants(systems: Sequence[System]) -> Iterator[tuple[str, System]]:
    """Yield each system with the name of its rows: a strategy twice, with chaining and without."""
    for system in systems:
        if isinstance(system, Strategy):
            for name, setting in CHAINING.items():
                yield f"{system.name}/{name}", Strategy(system.name, settings=(("CHAINING", setting),))
        elif system.name in PEERS:
            yield system.name, system


def _row(system: System, partitions: int, settings: LiveSettings, testbed: Testbed, number: int) -> Figures:
    return Row(system, testbed, partitions, settings.seconds, Stream.make()).measure(settings.rates, searches=True)


def _backlog(system: System, partitions: int, count: int, pack: int, testbed: Testbed, number: int) -> Figures:
    workload = make_workload(count, pack)
    return trials.throughput(system, testbed, workload, partitions=partitions, counts_bus=True)


def _waiting(system: Strategy, partitions: int, settings: LiveSettings, testbed: Testbed, number: int) -> Figures:
    """Measure a line whose only stop waits for 0.5 s and takes 64 records at once."""
    line = waiting()
    made = Strategy(system.name, str(line.write(testbed.folder)), line.first_stops, system.settings)
    stream = Stream.make(line.evaluate)
    return Row(made, testbed, partitions, settings.seconds, stream).measure(WAITING_RATES)


def _idle(system: System, partitions: int, settings: LiveSettings, testbed: Testbed, number: int) -> Figures:
    """Measure the CPU at 100 records per second and without any."""
    with under_load(system, testbed, partitions, Stream.make(), IDLE_RATE) as load:
        idle = load.idle(settings.seconds)
        figures = load.at(IDLE_RATE, settings.seconds)
    return {"partitions": partitions, "idle_cpu": idle["cpu"], "rates": {f"{IDLE_RATE:g}": figures}}
