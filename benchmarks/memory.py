"""`make bench-memory`: measures a worker's memory with a backlog, and over many records, on Apache Kafka.

Topics keep only their last 128 MiB per partition, so that the disk does not fill; the source of the backlog keeps all.
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

from benchmarks.report.machine import describe_machine
from benchmarks.report.report import render
from benchmarks.report.results import Results, new_entry
from benchmarks.systems.brokers import Testbed, running_testbed
from benchmarks.systems.expected import make_workload
from benchmarks.systems.process_usage import UsageSampler
from benchmarks.systems.source_producer import PARTITIONS, SourceProducer
from benchmarks.systems.strategy import RunningWorker, Strategy
from benchmarks.systems.system import RunConfig
from benchmarks.systems.trial import STALL_SECONDS, TrialFailed
from metroline.agents.kafka.topic_admin import TopicAdmin, TopicPlan
from metroline.routing.strategies import STRATEGIES

SHORT_RETENTION = """
log.retention.bytes=134217728
log.segment.bytes=33554432
log.retention.check.interval.ms=3000
log.segment.delete.delay.ms=1000
"""
"""Broker settings that keep 128 MiB per partition."""

DISTINCT_RECORDS = 20_000
"""Number of distinct records; they are sent repeatedly."""
MAX_WAITING_RECORDS = 300_000
"""Number of records that may wait in the source while more are sent."""
POLL_SECONDS = 0.25
SESSION_SECONDS = 30.0
MARKS = 10
"""Number of times that memory is read over many records."""


@dataclass(slots=True)
class WatchedWorker:
    """A running worker, its settled records and its memory."""

    worker: RunningWorker
    usage: UsageSampler
    settled: int = 0
    last_settled_at: float = 0.0
    """Time at which `settled` last rose, on the monotonic clock."""

    def count_settled(self) -> int:
        """Return the number of settled records. Raise `TrialFailed` if it has not risen for a while."""
        self.worker.process.check()
        traffic = self.worker.process.get("/traffic/")
        now = sum(traffic["settled"].values()) if traffic else self.settled
        if now > self.settled or not self.last_settled_at:
            self.settled, self.last_settled_at = now, time.monotonic()
        if time.monotonic() - self.last_settled_at > STALL_SECONDS:
            raise TrialFailed(f"{self.settled} records are settled, none for {STALL_SECONDS:g} s")
        return self.settled

    def wait_for(self, records: int) -> None:
        while self.count_settled() < records:
            time.sleep(POLL_SECONDS)


@contextmanager
def running_worker(testbed: Testbed, strategy: str, prefix: str) -> Iterator[WatchedWorker]:
    """Run a worker of the line metrobus while the block runs; then delete its topics."""
    worker = Strategy(strategy).start(RunConfig(testbed, prefix, SESSION_SECONDS, at_load=True))
    assert isinstance(worker, RunningWorker)
    try:
        with UsageSampler(worker.child.pid) as usage:
            yield WatchedWorker(worker, usage)
    finally:
        worker.stop()
        testbed.delete(prefix)


def create_source(testbed: Testbed, prefix: str, config: dict[str, str]) -> SourceProducer:
    source = f"{prefix}-source"
    asyncio.run(TopicAdmin(testbed.cluster).create([TopicPlan(source, PARTITIONS, config)]))
    return SourceProducer(testbed.broker.bootstrap, source)


def with_backlog(testbed: Testbed, strategy: str, records: int) -> dict[str, object]:
    """Return the peak memory of a worker that finds `records` records of 1.2 kB waiting."""
    source = create_source(testbed, "backlog", {"retention.bytes": "-1"})
    messages = make_workload(DISTINCT_RECORDS).messages
    source.load(itertools.islice(itertools.cycle(messages), records))
    with running_worker(testbed, strategy, "backlog") as watched:
        watched.wait_for(records)
        return {
            "records": records,
            "strategy": strategy,
            "bytes_per_record": sum(map(len, messages)) / len(messages),
            "peak_megabytes": round(watched.usage.peak_bytes / 1e6, 1),
        }


def over_many(testbed: Testbed, strategy: str, records: int) -> dict[str, object]:
    """Return the memory of one worker after each tenth of `records` small records."""
    source = create_source(testbed, "long", {})
    small = [
        orjson.dumps({key: record[key] for key in ("message_id", "message_type_code", "account_number")})
        for record in map(orjson.loads, make_workload(DISTINCT_RECORDS).messages)
    ]
    endless = itertools.cycle(small)
    sent, step = 0, records // MARKS
    sizes: dict[str, float] = {}
    with running_worker(testbed, strategy, "long") as watched:
        for mark in range(step, step * MARKS + 1, step):
            while (settled := watched.count_settled()) < mark:
                batch = min(mark - sent, settled + MAX_WAITING_RECORDS - sent, MAX_WAITING_RECORDS // 4)
                if batch > 0:
                    source.load(itertools.islice(endless, batch))
                    sent += batch
                else:
                    time.sleep(POLL_SECONDS)
            sizes[str(mark)] = round(watched.usage.memory() / 1e6, 1)
            click.echo(f"{mark:,} records: {sizes[str(mark)]} MB")
    return {"records": step * MARKS, "strategy": strategy, "megabytes": sizes}


@click.command()
@click.option(
    "--backlog", default=2_000_000, show_default=True, help="Number of waiting records; 0 skips this measurement."
)
@click.option(
    "--records",
    default=10_000_000,
    show_default=True,
    help="Number of records for one worker; 0 skips this measurement.",
)
@click.option("--strategy", type=click.Choice(list(STRATEGIES)), default="signpost", show_default=True)
def memory(backlog: int, records: int, strategy: str) -> None:
    """Measure a worker's memory and render benchmarks/RESULTS.md."""
    results = Results()
    results.write_machine(describe_machine())
    entry = new_entry(shlex.join(["python", "-m", "benchmarks.memory", *sys.argv[1:]]))
    with running_testbed("kafka", SHORT_RETENTION) as testbed:
        for name, measure, count in (("backlog", with_backlog, backlog), ("long", over_many, records)):
            if count:
                figures = measure(testbed, strategy, count)
                click.echo(f"{name}: {figures}")
                results.write("memory", "kafka", name, entry | {"rounds": [figures]})
    click.echo(f"written: {render(results)}")


if __name__ == "__main__":
    memory()
