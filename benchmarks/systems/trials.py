"""The trials: throughput, latency and a kill, each verified before its figures count."""

from __future__ import annotations

import asyncio
import os
import signal
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

from benchmarks.systems.brokers import Testbed
from benchmarks.systems.expected import Delivered, Expected, Workload
from benchmarks.systems.source_producer import PARTITIONS
from benchmarks.systems.strategy import Strategy
from benchmarks.systems.system import System
from benchmarks.systems.topic_watch import WrittenMessages
from benchmarks.systems.trial import Trial, TrialFailed
from metroline.agents.kafka.topics import Topics
from metroline.agents.tables.outcomes import Settled, read_settled

Figures = dict[str, Any]

REPEATS_SECONDS = 3.0
"""Time without a delivered record, after a kill, after which no repeats are expected any more."""
LOST_SECONDS = 45.0
"""Time without a delivered record, after a kill, after which missing records are lost."""
FREEZE_SESSION_SECONDS = 12.0
"""Session timeout where a process is frozen for a while."""
KILL_SESSION_SECONDS = 6.0
"""Session timeout where a process is killed: its partitions are free after that."""


@contextmanager
def frozen(pid: int) -> Iterator[None]:
    """Suspend a process while the block runs."""
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGCONT)


def throughput(
    system: System,
    testbed: Testbed,
    workload: Workload,
    *,
    partitions: int = PARTITIONS,
    counts_bus: bool = False,
    at_start: Callable[[int], None] = lambda _: None,
    at_end: Callable[[int], None] = lambda _: None,
) -> Figures:
    """Return the CPU time, speed and memory of a process that finds a full source.

    The process is warmed up, rests, and is frozen while the source is loaded. The figures cover the time from the thaw
    until the last delivered record is seen. `at_start` and `at_end` are called with the process id at both moments.
    """
    trial = Trial(system, testbed, partitions, session_seconds=FREEZE_SESSION_SECONDS, at_load=True)
    expected, records = workload.all_expected, workload.expected.records
    with trial.topics():
        with trial.process() as usage:
            trial.warm_up(workload)
            with frozen(trial.pid):
                trial.source.load(workload.messages)
                usage.peak_bytes = 0
                started_at = time.time()
            at_start(trial.pid)
            trial.wait_for(len(expected.contents), "records")
            at_end(trial.pid)
            trial.wait_until_quiet()
        trial.verify(expected)
        ended_at = max(delivery.seen_at for delivery in trial.watch.deliveries)
        cpu = usage.cpu_at(ended_at) - usage.cpu_at(started_at)
        figures = {
            "records": records,
            "records_per_second": round(records / (ended_at - started_at), 1),
            "cpu_per_10k": round(cpu / records * 10_000, 4),
            "peak_megabytes": round(usage.peak_bytes / 1e6, 1),
        }
        if counts_bus:
            messages, size = WrittenMessages(testbed.broker.bootstrap, trial.config.prefix).count()
            figures["messages_per_record"] = round(messages / expected.records, 4)
            figures["bytes_per_record"] = round(size / expected.records, 1)
        return figures


def latency(system: System, testbed: Testbed, workload: Workload, rate: float) -> Figures:
    """Return percentiles of the time from sending a record to seeing it delivered, in milliseconds.

    `rate` is the number of records sent per second.
    """
    trial = Trial(system, testbed, session_seconds=FREEZE_SESSION_SECONDS, at_load=False)
    with trial.topics():
        with trial.process():
            trial.warm_up(workload)
            before = len(trial.watch.deliveries)
            sent_at = _send_at_rate(trial, workload, rate)
            trial.wait_for(len(workload.all_expected.contents), "records")
            trial.wait_until_quiet()
        trial.verify(workload.all_expected)
        latencies = [
            1000 * (delivery.seen_at - sent_at[record["message_id"]])
            for delivery in trial.watch.deliveries[before:]
            for record in system.decode_records(delivery.value)
        ]
    percentiles = statistics.quantiles(latencies, n=100, method="inclusive")
    return {
        "records": len(latencies),
        "rate": rate,
        "p50": round(percentiles[49], 1),
        "p99": round(percentiles[98], 1),
    }


def _send_at_rate(trial: Trial, workload: Workload, rate: float) -> dict[str, float]:
    """Send the records, `rate` per second. Return the time at which each was sent, by message id."""
    sent_at: dict[str, float] = {}
    started_at = time.time()
    for number, message in enumerate(workload.messages):
        time.sleep(max(0.0, started_at + number / rate - time.time()))
        sent_at[_message_id(message)] = time.time()
        trial.source.send(message)
    trial.source.flush()
    return sent_at


def _message_id(message: bytes) -> str:
    """Return the id of a source message of one record, whose first field it is."""
    return message.split(b'"', 4)[3].decode()


def killed(system: System, testbed: Testbed, workload: Workload) -> Figures:
    """Return what is repeated and what is lost when a process is killed (SIGKILL) halfway and started again.

    The source is full before the first start, so the figures also include the time from a start to the first record
    that is passed on.
    """
    trial = Trial(system, testbed, session_seconds=KILL_SESSION_SECONDS, at_load=True)
    expected = workload.all_expected
    with trial.topics():
        trial.source.load([*workload.warm_up, *workload.messages])
        started_at = time.time()
        with trial.process(stops_in_order=False):
            trial.wait_for(len(expected.contents) // 2, "records before the kill")
            os.kill(trial.pid, signal.SIGKILL)
        first_seen_at, restarted_at = trial.watch.first_seen_at, time.time()
        with trial.process():
            if isinstance(system, Strategy):  # first: a process that takes long to start has delivered nothing yet
                _wait_for_outcomes(trial, expected)
            found = _watch_until_complete(trial, expected)
        if problems := found.problems(expected, may_lose=True):
            raise TrialFailed("; ".join(problems))
        last_seen_at = max(delivery.seen_at for delivery in trial.watch.deliveries)
        figures = {
            "records": expected.records,
            "first_record_seconds": None if first_seen_at is None else round(first_seen_at - started_at, 2),
            "seconds_after_restart": max(0.0, round(last_seen_at - restarted_at, 1)),
            "repeated": found.repeated,
            "lost": len(expected.contents.keys() - found.contents.keys()),
        }
        return figures | (_outcomes(trial, expected) if isinstance(system, Strategy) else {})


def _outcomes(trial: Trial, expected: Expected) -> Figures:
    """Return the numbers of outcomes and of duplicates; raise `TrialFailed` unless each record has one outcome."""
    settled = _settled(trial)
    outcomes = settled.endings.total()
    if outcomes != expected.records:
        raise TrialFailed(f"{outcomes} outcomes are counted for {expected.records} records")
    return {"outcomes": outcomes, "duplicates": settled.duplicates}


def _settled(trial: Trial) -> Settled:
    return asyncio.run(read_settled(trial.config.testbed.cluster, Topics(trial.config.prefix, trial.config.source)))


def _wait_for_outcomes(trial: Trial, expected: Expected) -> None:
    """Wait until each record has its outcome, for `LOST_SECONDS` at most.

    The killed process may have delivered all records without counting them, and dropped records are never delivered.
    """
    started_at = time.monotonic()
    while _settled(trial).endings.total() < expected.records and time.monotonic() - started_at < LOST_SECONDS:
        time.sleep(0.5)


def _watch_until_complete(trial: Trial, expected: Expected) -> Delivered:
    """Return what is delivered once all records are, or once the missing ones are lost."""
    found = Delivered()
    taken = 0
    trial.watch.last_seen_at = time.monotonic()
    is_quiet = False
    while not is_quiet:
        deliveries = trial.watch.deliveries[taken:]
        taken += len(deliveries)
        for delivery in deliveries:
            found.add(trial.system.decode_records(delivery.value))
        wait = LOST_SECONDS if expected.contents.keys() - found.contents.keys() else REPEATS_SECONDS
        is_quiet = time.monotonic() - trial.watch.last_seen_at > wait and taken == len(trial.watch.deliveries)
        time.sleep(0.1)
    return found
