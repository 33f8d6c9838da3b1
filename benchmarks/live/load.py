"""A system's process under load: started and warmed up once, then measured at one rate after the other."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from benchmarks.live.measured import Measured, is_complete
from benchmarks.live.sender import Sender, running_sender
from benchmarks.live.stream import Stream
from benchmarks.systems.brokers import Testbed
from benchmarks.systems.process_usage import UsageSampler
from benchmarks.systems.system import System
from benchmarks.systems.topic_watch import WrittenMessages
from benchmarks.systems.trial import Trial, TrialFailed
from benchmarks.systems.trials import FREEZE_SESSION_SECONDS, Figures

LEAD_SECONDS = 1.0
"""Time at a rate before anything counts."""
GRACE_SECONDS = 2.0
"""Time after the last record was due within which a delivery counts."""
WARM_UP_RATE = 200.0
WARM_UP_RECORDS = 50
WARM_UP_PER_PARTITION = 4
WARM_UP_SECONDS = 3.0
"""Time at the first rate after the group has joined, which also does not count."""
WARM_UP_REST_SECONDS = 10.0
"""Longest time that a system has to deliver the last records of the warm-up."""
IDLE_REST_SECONDS = 2.0


@dataclass(slots=True)
class Load:
    """A warm system and the sender of its source."""

    trial: Trial
    sender: Sender
    usage: UsageSampler
    stream: Stream
    written: WrittenMessages
    _next: int = 0
    """The number of the next record."""
    _expected: int = 0
    """The number of records that must have been delivered by now."""

    def at(self, rate: float, seconds: float, grace: float = GRACE_SECONDS) -> Figures:
        """Send records for `seconds` after a lead-in; return the system's figures at this rate, per second.

        A record counts as delivered if it is delivered up to `grace` seconds after the last one was due.
        """
        lead = self._take(round(rate * LEAD_SECONDS))
        measured = Measured(self.stream, self._take(max(2, round(rate * seconds))))
        everything = range(lead.start, measured.numbers.stop)
        self.written.count()
        self.usage.peak_bytes = 0
        started_at, late = self._send(everything, rate)
        first_due, last_due = started_at + len(lead) / rate, started_at + len(everything) / rate
        self._collect(measured, last_due + grace)
        cpu = self.usage.cpu_at(last_due) - self.usage.cpu_at(first_due)
        figures = measured.figures() | {
            "cpu": round(cpu / (last_due - first_due), 4),
            "megabytes": round(self.usage.peak_bytes / 1e6, 1),
            "sender_late_p99": late,
        }
        if is_complete(figures):  # of a system that is behind, the count would take as long as it needs to catch up
            figures["messages_per_record"] = round(self.written.count()[0] / len(everything), 3)
        return figures

    def idle(self, seconds: float) -> Figures:
        """Return the CPU of the system without any record, as a share of a core."""
        time.sleep(IDLE_REST_SECONDS)
        started_at = time.time()
        time.sleep(seconds)
        cpu = self.usage.cpu_at(started_at + seconds) - self.usage.cpu_at(started_at)
        return {"cpu": round(cpu / seconds, 4)}

    def warm_up(self, rate: float) -> None:
        """Wait until records come through every partition, then stay at a rate for a while."""
        count = max(WARM_UP_RECORDS, WARM_UP_PER_PARTITION * self.trial.partitions)
        self._send(self._take(count), WARM_UP_RATE)
        self.trial.wait_for(self._expected, "warm-up records")
        self._send(self._take(round(rate * WARM_UP_SECONDS)), rate)
        self._wait(time.time() + WARM_UP_REST_SECONDS)

    def _take(self, count: int) -> range:
        numbers = range(self._next, self._next + count)
        self._next += count
        return numbers

    def _send(self, numbers: range, rate: float) -> tuple[float, float]:
        """Send records; return when the first was due and how late they were handed over, as the sender does."""
        started_at = self.sender.begin(numbers, rate)
        self._expected += self.stream.delivered_of(numbers)
        return started_at, self.sender.finish()

    def _collect(self, measured: Measured, deadline: float) -> None:
        """Take what is delivered until the deadline, in epoch seconds, or until everything is.

        Records are decoded only when no more are expected, so that the harness does not delay those that follow.
        """
        self._wait(deadline)
        while True:
            is_over = time.time() > deadline
            for delivery in self.trial.watch.take():
                if delivery.seen_at <= deadline:
                    measured.add(self.trial.system.decode_records(delivery.value), delivery.seen_at)
            if is_over or measured.is_complete:  # repeated records can make the number right too early
                return
            time.sleep(max(0.0, deadline - time.time()))

    def _wait(self, deadline: float) -> None:
        """Wait until as many records are delivered as must be, or until the deadline, in epoch seconds."""
        watch, running = self.trial.watch, self.trial.running
        while watch.records < self._expected and time.time() < deadline:
            if watch.failure:
                raise TrialFailed(f"the deliveries cannot be read: {watch.failure}")
            if running is not None and running.child.exit_code is not None:
                raise TrialFailed(f"the process ended: {running.child.last_words()}")
            time.sleep(0.02)


@contextmanager
def under_load(
    system: System, testbed: Testbed, partitions: int, stream: Stream, warm_up_rate: float = 100.0
) -> Iterator[Load]:
    """Start a system on topics of its own and warm it up; stop it and delete the topics when the block ends."""
    trial = Trial(system, testbed, partitions, session_seconds=FREEZE_SESSION_SECONDS, at_load=False)
    pool = testbed.folder / f"{trial.config.prefix}.pool"
    stream.write(pool)
    bootstrap = testbed.broker.bootstrap
    with (
        trial.topics(),
        running_sender(bootstrap, trial.config.source, partitions, pool) as sender,
        trial.process(stops_in_order=False) as usage,
    ):
        load = Load(trial, sender, usage, stream, WrittenMessages(bootstrap, trial.config.prefix))
        load.warm_up(warm_up_rate)
        yield load
