"""`make bench-waiting`: measures a worker while many records wait for long, on Apache Kafka: its memory and messages.

Half-way the worker is killed (`kill -9`), and another one takes its place. If the wait is shorter than the measurement,
every record must have its outcome at the end, once.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import shlex
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import click
import psutil

from benchmarks.memory import create_source
from benchmarks.report.machine import describe_machine
from benchmarks.report.report import render
from benchmarks.report.results import Results, new_entry
from benchmarks.systems.brokers import Testbed, running_testbed
from benchmarks.systems.expected import make_workload
from benchmarks.systems.strategy import RunningWorker, Strategy
from benchmarks.systems.system import RunConfig
from benchmarks.systems.trial import STALL_SECONDS, TrialFailed
from metroline.agents.kafka.topics import Topics
from metroline.agents.tables.outcomes import read_settled
from metroline.routing.addresses import WAITING_ROOMS
from metroline.routing.strategies import STRATEGIES

PREFIX = "long-waits"
SESSION_SECONDS = 8.0
DISTINCT_RECORDS = 20_000
"""Number of distinct records of 1.2 kB; they are sent repeatedly."""
ARRIVE_SECONDS = 300.0
"""Time in which all records must have entered the line."""
HANDLE_SECONDS = 2.0
"""Time after which the last of them have come to their waiting room."""
MARKS = 10
"""Number of times that memory is read while the records wait."""

SERVICES = """
from metroline import Wait, service


@service
def hold(record):
    record["held"] = True
    return Wait(seconds={seconds}, then="next")
"""

RULES = '[[rules]]\nafter = "source"\nto = "hold"\n'


@dataclass(slots=True)
class Watched:
    """The workers of the line, one after the other, and what they wrote."""

    testbed: Testbed
    strategy: Strategy
    worker: RunningWorker
    sent: dict[str, int] = field(default_factory=dict)
    """The counts of the workers before this one."""

    def counted(self) -> dict[str, int]:
        """Return the number of records that entered, and of messages that were written to waiting rooms."""
        self.worker.process.check()
        told: dict[str, Any] = self.worker.process.get("/traffic/") or {}
        rooms = [one for address, one in told.get("traffic", {}).items() if address in WAITING_ROOMS]
        now = {"entered": told.get("entered", 0), "messages": sum(room["messages"] for room in rooms)}
        return {name: count + self.sent.get(name, 0) for name, count in now.items()}

    def settled(self) -> int:
        """Return the number of records that have an outcome."""
        found = asyncio.run(read_settled(self.testbed.cluster, Topics(PREFIX, f"{PREFIX}-source")))
        return sum(found.endings.values())

    def megabytes(self) -> float:
        """Return the resident memory of the worker."""
        return round(psutil.Process(self.worker.child.pid).memory_info().rss / 1e6, 1)

    def replace(self) -> None:
        """Kill the worker and start another one."""
        self.sent = self.counted()
        os.kill(self.worker.child.pid, signal.SIGKILL)
        self.worker.stop()
        self.worker = started(self.testbed, self.strategy, "second")


def started(testbed: Testbed, strategy: Strategy, name: str) -> RunningWorker:
    worker = strategy.start(RunConfig(testbed, PREFIX, SESSION_SECONDS, at_load=True, name=name))
    assert isinstance(worker, RunningWorker)
    return worker


@contextmanager
def running_line(testbed: Testbed, strategy: str, seconds: float) -> Iterator[Watched]:
    """Run a line whose only service lets every record wait for some seconds."""
    folder = testbed.folder / "line"
    folder.mkdir()
    (folder / "services.py").write_text(SERVICES.format(seconds=seconds))
    (folder / "routes.toml").write_text(RULES)
    system = Strategy(strategy, str(folder))
    watched = Watched(testbed, system, started(testbed, system, "first"))
    try:
        yield watched
    finally:
        watched.worker.stop()


def measure(testbed: Testbed, strategy: str, records: int, wait: float, watch: float) -> dict[str, object]:
    """Return the memory and the messages of a line in which all of these records wait."""
    messages = make_workload(min(records, DISTINCT_RECORDS)).messages
    create_source(testbed, PREFIX, {}).load(itertools.islice(itertools.cycle(messages), records))
    with running_line(testbed, strategy, wait) as watched:
        began = time.monotonic()
        while (entered := watched.counted()["entered"]) < records:
            time.sleep(0.25)
            if time.monotonic() > began + ARRIVE_SECONDS:
                raise TrialFailed(f"only {entered} records entered in {ARRIVE_SECONDS:g} s")
        time.sleep(HANDLE_SECONDS)
        first, sizes, since = watched.counted(), {}, time.monotonic()
        for mark in range(MARKS + 1):
            while (now := time.monotonic() - since) < watch * mark / MARKS:
                time.sleep(0.25)
            if mark == MARKS // 2:
                watched.replace()
            else:
                sizes[f"{now:.1f}"] = watched.megabytes()
                click.echo(f"after {now:.0f} s: {watched.megabytes()} MB, {watched.counted()}")
        last = watched.counted()
        settled = watched.settled()
        while wait < watch and settled < records:
            if time.monotonic() > since + watch + STALL_SECONDS:
                raise TrialFailed(f"{settled} records have an outcome, of {records}")
            time.sleep(1.0)
            settled = watched.settled()
        return {
            "records": records,
            "strategy": strategy,
            "wait": wait,
            "watched": watch,
            "messages_before": first["messages"],
            "messages_while_waiting": last["messages"] - first["messages"],
            "settled": settled,
            "megabytes": sizes,
        }


@click.command()
@click.option("--records", default=100_000, show_default=True, help="Number of records that wait.")
@click.option("--wait", default=86_400.0, show_default=True, help="Length of the wait, in seconds.")
@click.option("--watch", default=600.0, show_default=True, help="Length of the measurement, in seconds.")
@click.option("--strategy", type=click.Choice(list(STRATEGIES)), default="signpost", show_default=True)
@click.option("--results", type=click.Path(path_type=Path), help="Folder of the results. Default: benchmarks/results.")
def waiting(records: int, wait: float, watch: float, strategy: str, results: Path | None) -> None:
    """Measure a line in which records wait, and render benchmarks/RESULTS.md."""
    kept = Results(results) if results is not None else Results()
    entry = new_entry(shlex.join(["python", "-m", "benchmarks.waiting", *sys.argv[1:]]))
    with running_testbed("kafka") as testbed:
        figures = measure(testbed, strategy, records, wait, watch)
    click.echo(f"{figures}")
    kept.write("memory", "kafka", "waiting", entry | {"rounds": [figures]})
    if results is None:
        kept.write_machine(describe_machine())
        click.echo(f"written: {render(kept)}")


if __name__ == "__main__":
    waiting()
