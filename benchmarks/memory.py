"""`make bench-memory`: a worker's memory with a backlog behind it, and over many records, on an Apache Kafka.

Topics keep only what was written last, so that the disk does not fill; the backlog's source keeps all.
"""

from __future__ import annotations

import asyncio
import itertools
import shlex
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import click
import orjson

from benchmarks.report.report import render
from benchmarks.report.results import Results, made
from benchmarks.systems.brokers import Place, running
from benchmarks.systems.expected import make_work
from benchmarks.systems.process_usage import Gauge
from benchmarks.systems.systems import Job, Strategy, Worker
from benchmarks.systems.topic_watch import PARTITIONS, Sender
from benchmarks.systems.trials import STALL, TrialFailed
from metroline.agents.kafka.topic_admin import TopicAdmin, TopicPlan
from metroline.routing.strategies import STRATEGIES

SHORT_MEMORY = """
log.retention.bytes=134217728
log.segment.bytes=33554432
log.retention.check.interval.ms=3000
log.segment.delete.delay.ms=1000
"""
"""Settings of the broker: 128 MiB a partition."""

DISTINCT = 20_000
"""Records that are made; they are sent again and again."""
AHEAD = 300_000
"""Records that may wait in the source while many are sent."""
SETTLED_EVERY = 0.25
MARKS = 10
"""How often memory is noted over many records."""


@dataclass(slots=True)
class Watched:
    """A worker whose settled records are counted, and its memory."""

    worker: Worker
    gauge: Gauge
    settled: int = 0
    moved: float = 0.0

    def look(self) -> int:
        """Records that have their outcome; raises `TrialFailed` if none came for a while, or the worker ended."""
        self.worker.process.check()
        told = self.worker.process.get("/traffic/")
        now = sum(told["settled"].values()) if told else self.settled
        if now > self.settled or not self.moved:
            self.settled, self.moved = now, time.monotonic()
        if time.monotonic() - self.moved > STALL:
            raise TrialFailed(f"{self.settled} records have an outcome, none came for {STALL:g} s")
        return self.settled

    def wait_for(self, records: int) -> None:
        while self.look() < records:
            time.sleep(SETTLED_EVERY)


@contextmanager
def working(place: Place, strategy: str, prefix: str) -> Iterator[Watched]:
    """A worker of the line metrobus."""
    running_worker = Strategy(strategy).start(Job(place, prefix, session=30.0, at_load=True))
    assert isinstance(running_worker, Worker)
    try:
        with Gauge(running_worker.child.pid) as gauge:
            yield Watched(running_worker, gauge)
    finally:
        running_worker.stop()
        place.delete(prefix)


def create_source(place: Place, prefix: str, config: dict[str, str]) -> Sender:
    source = f"{prefix}-source"
    asyncio.run(TopicAdmin(place.cluster).create([TopicPlan(source, PARTITIONS, config)]))
    return Sender(place.broker.bootstrap, source)


def with_a_backlog(place: Place, strategy: str, records: int) -> dict[str, object]:
    """The most memory that a worker holds which finds so many records of 1.2 kB waiting."""
    sender = create_source(place, "backlog", {"retention.bytes": "-1"})
    messages = make_work(DISTINCT).messages
    sender.load(itertools.islice(itertools.cycle(messages), records))
    with working(place, strategy, "backlog") as watched:
        watched.wait_for(records)
        return {
            "records": records,
            "strategy": strategy,
            "bytes_per_record": sum(map(len, messages)) / len(messages),
            "peak_megabytes": round(watched.gauge.peak_bytes / 1e6, 1),
        }


def over_many(place: Place, strategy: str, records: int) -> dict[str, object]:
    """The memory of one worker each time that a tenth more of so many small records is settled."""
    sender = create_source(place, "long", {})
    small = [
        orjson.dumps({key: record[key] for key in ("message_id", "message_type_code", "account_number")})
        for record in map(orjson.loads, make_work(DISTINCT).messages)
    ]
    endless = itertools.cycle(small)
    sent, step = 0, records // MARKS
    sizes: dict[str, float] = {}
    with working(place, strategy, "long") as watched:
        for mark in range(step, step * MARKS + 1, step):
            while (settled := watched.look()) < mark:
                batch = min(mark - sent, settled + AHEAD - sent, AHEAD // 4)
                if batch > 0:
                    sender.load(itertools.islice(endless, batch))
                    sent += batch
                else:
                    time.sleep(SETTLED_EVERY)
            sizes[str(mark)] = round(watched.gauge.memory() / 1e6, 1)
            click.echo(f"{mark:,} records: {sizes[str(mark)]} MB")
    return {"records": step * MARKS, "strategy": strategy, "megabytes": sizes}


@click.command()
@click.option("--backlog", default=2_000_000, show_default=True, help="Records that wait; 0 leaves this out.")
@click.option("--records", default=10_000_000, show_default=True, help="Records for one worker; 0 leaves this out.")
@click.option("--strategy", type=click.Choice(list(STRATEGIES)), default="signpost", show_default=True)
def memory(backlog: int, records: int, strategy: str) -> None:
    """Measures a worker's memory and renders benchmarks/RESULTS.md anew."""
    results = Results()
    results.write_machine()
    entry = made(shlex.join(["python", "-m", "benchmarks.memory", *sys.argv[1:]]))
    with running("kafka", SHORT_MEMORY) as place:
        for name, measure, count in (("backlog", with_a_backlog, backlog), ("long", over_many, records)):
            if count:
                figures = measure(place, strategy, count)
                click.echo(f"{name}: {figures}")
                results.write("memory", "kafka", name, entry | {"rounds": [figures]})
    click.echo(f"written: {render(results)}")


if __name__ == "__main__":
    memory()
