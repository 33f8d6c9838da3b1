"""The trials: one run of one system each, verified before its figures count."""

from __future__ import annotations

import asyncio
import os
import signal
import statistics
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

from benchmarks.systems.brokers import Place
from benchmarks.systems.expected import Delivered, Expected, Work
from benchmarks.systems.process_usage import Gauge
from benchmarks.systems.systems import Job, Running, Strategy, System
from benchmarks.systems.topic_watch import PARTITIONS, Sender, Watch, count_written
from metroline.agents.kafka.topic_admin import TopicAdmin, TopicPlan
from metroline.agents.kafka.topics import Topics
from metroline.agents.tables.outcomes import Settled, read_settled
from metroline.routing.errors import MetrolineError

Figures = dict[str, Any]

STALL = 60.0
"""Seconds without a delivered record after which a trial has failed."""
CALM = 1.0
"""Seconds without a delivered record after which nothing more is expected."""
AFTERMATH = 3.0
"""... after a kill: what was in hand may come again late."""
LOST = 45.0
"""... and after which what is missing is lost."""
PATIENT_SESSION = 12.0
"""Session timeout, seconds, where a process is frozen for a while."""
SHORT_SESSION = 6.0
"""... and where one is killed: its partitions are free after that."""


class TrialFailed(MetrolineError):
    """Raised when a system does not come to its end, or to another one than it should."""


class Trial:
    """One run: topics of its own, a process, a watch on what it delivers."""

    def __init__(self, system: System, place: Place, *, session: float, at_load: bool) -> None:
        self.system = system
        self.job = Job(place, f"bench-{uuid.uuid4().hex[:10]}", session, at_load)
        self.sender = Sender(place.broker.bootstrap, self.job.source, 20 if at_load else 0)
        self.watch = Watch(
            place.broker.bootstrap,
            system.first_hops(self.job.prefix),
            f"{self.job.prefix}.delivered",
            system.records_in,
        )
        self.running: Running | None = None
        self.dropped: int | None = None

    @contextmanager
    def topics(self) -> Iterator[None]:
        """Makes the topics and the watch; afterwards nothing of the run is left."""
        names = [self.job.source, *self.system.topics(self.job.prefix)]
        asyncio.run(TopicAdmin(self.job.place.cluster).create([TopicPlan(name, PARTITIONS) for name in names]))
        try:
            with self.watch:
                yield
        finally:
            self.job.place.delete(self.job.prefix)

    @contextmanager
    def process(self, *, asked_to_stop: bool = True) -> Iterator[Gauge]:
        """The system at work."""
        self.running = self.system.start(self.job)
        try:
            with Gauge(self.running.child.pid) as gauge:
                yield gauge
                if asked_to_stop:
                    self.dropped = self.running.stop()
        finally:
            self.running.child.stop()

    def wait_for(self, records: int, what: str) -> None:
        """Returns when so many records are delivered; raises `TrialFailed` if they are not."""
        self._wait(lambda: self.watch.records >= records, lambda: f"{self.watch.records} of {records} {what} delivered")

    def _wait(self, holds: Callable[[], bool], told: Callable[[], str]) -> None:
        self.watch.moved = time.monotonic()
        while not holds():
            if self.watch.failure:
                raise TrialFailed(f"the watch failed: {self.watch.failure}")
            if self.running is not None and self.running.child.exit_code is not None:
                raise TrialFailed(f"it ended: {self.running.child.last_words()}")
            if time.monotonic() - self.watch.moved > STALL:
                words = self.running.child.last_words() if self.running else ""
                raise TrialFailed(f"{told()}, none came for {STALL:g} s; {words}")
            time.sleep(0.02)

    def wait_for_calm(self) -> None:
        """Returns when nothing was delivered for a while."""
        while time.monotonic() - self.watch.moved < CALM:
            time.sleep(0.05)

    def warm_up(self, work: Work) -> None:
        """Returns when the system has taken a few records through the line and rests."""
        self.sender.load(work.warm_up)
        self.wait_for(len(work.warmed_up.contents), "first records")
        self.wait_for_calm()

    def delivered(self) -> Delivered:
        found = Delivered()
        for arrival in self.watch.arrivals:
            found.add(self.system.records_of(arrival.value))
        return found

    def verify(self, expected: Expected) -> None:
        """Raises `TrialFailed` unless the same ids came with the same contents, once each, and the rest was dropped."""
        delivered = self.delivered()
        problems = delivered.problems(expected)
        if delivered.repeated:
            problems.append(f"{delivered.repeated} records came again, though nothing was killed")
        if self.dropped != expected.dropped.total():
            problems.append(f"{self.dropped} records are said to be dropped, not {expected.dropped.total()}")
        if problems:
            raise TrialFailed("; ".join(problems))


def both(work: Work) -> Expected:
    """What must become of the warm-up and of the rest."""
    one, two = work.warmed_up, work.expected
    return Expected(one.contents | two.contents, one.dropped + two.dropped)


@contextmanager
def frozen(pid: int) -> Iterator[None]:
    """The process stands still for as long as the block runs."""
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGCONT)


def throughput(
    system: System,
    place: Place,
    work: Work,
    *,
    counts_bus: bool = False,
    beside: Callable[[int], None] = lambda _: None,
    at_the_end: Callable[[int], None] = lambda _: None,
) -> Figures:
    """CPU time, speed and memory of a process that finds a full source.

    It is warmed up, rests, and is frozen while the source is loaded; what it uses from the thaw until the last
    delivered record is seen counts. `beside` and `at_the_end` are called with the process' number at the
    thaw and after the last record.
    """
    trial = Trial(system, place, session=PATIENT_SESSION, at_load=True)
    expected = both(work)
    with trial.topics():
        with trial.process() as gauge:
            trial.warm_up(work)
            assert trial.running is not None
            pid = trial.running.child.pid
            with frozen(pid):
                trial.sender.load(work.messages)
                gauge.peak_bytes = 0
                began = time.time()
            beside(pid)
            trial.wait_for(len(expected.contents), "records")
            at_the_end(pid)
            trial.wait_for_calm()
        trial.verify(expected)
        ended = max(arrival.seen for arrival in trial.watch.arrivals)
        figures = {
            "records": work.expected.records,
            "records_per_second": round(work.expected.records / (ended - began), 1),
            "cpu_per_10k": round((gauge.cpu_at(ended) - gauge.cpu_at(began)) / work.expected.records * 10_000, 4),
            "peak_megabytes": round(gauge.peak_bytes / 1e6, 1),
        }
        if counts_bus:
            messages, size = count_written(place.broker.bootstrap, trial.job.prefix)
            figures["messages_per_record"] = round(messages / expected.records, 4)
            figures["bytes_per_record"] = round(size / expected.records, 1)
        return figures


def latency(system: System, place: Place, work: Work, rate: float) -> Figures:
    """Milliseconds from sending a record to seeing it delivered, with `rate` records a second coming in."""
    trial = Trial(system, place, session=PATIENT_SESSION, at_load=False)
    sent: dict[str, float] = {}
    with trial.topics():
        with trial.process():
            trial.warm_up(work)
            before = len(trial.watch.arrivals)
            began = time.time()
            for number, message in enumerate(work.messages):
                time.sleep(max(0.0, began + number / rate - time.time()))
                sent[_message_id(message)] = time.time()
                trial.sender.send(message)
            trial.sender.flush()
            trial.wait_for(len(both(work).contents), "records")
            trial.wait_for_calm()
        trial.verify(both(work))
        waits = [
            1000 * (arrival.seen - sent[record["message_id"]])
            for arrival in trial.watch.arrivals[before:]
            for record in system.records_of(arrival.value)
        ]
    hundredths = statistics.quantiles(waits, n=100, method="inclusive")
    return {"records": len(waits), "rate": rate, "p50": round(hundredths[49], 1), "p99": round(hundredths[98], 1)}


def _message_id(message: bytes) -> str:
    """Of a source message of one record, whose first field it is."""
    return message.split(b'"', 4)[3].decode()


def killed(system: System, place: Place, work: Work) -> Figures:
    """What comes twice and what is lost when the process is killed (SIGKILL) halfway and started again.

    The source is full before the first start, so this also tells how long a start takes until the first record is
    passed on.
    """
    trial = Trial(system, place, session=SHORT_SESSION, at_load=True)
    expected = both(work)
    with trial.topics():
        trial.sender.load([*work.warm_up, *work.messages])
        started = time.time()
        with trial.process(asked_to_stop=False):
            trial.wait_for(len(expected.contents) // 2, "records before the kill")
            assert trial.running is not None
            os.kill(trial.running.child.pid, signal.SIGKILL)
        first, again = trial.watch.first, time.time()
        with trial.process():
            found = _read_on(trial, expected)
            if isinstance(system, Strategy):
                _wait_for_outcomes(trial, expected)
        lost = len(expected.contents.keys() - found.contents.keys())
        if problems := found.problems(expected, may_lose=True):
            raise TrialFailed("; ".join(problems))
        figures = {
            "records": expected.records,
            "first_record_seconds": None if first is None else round(first - started, 2),
            "seconds_after_restart": max(0.0, round(max(a.seen for a in trial.watch.arrivals) - again, 1)),
            "repeated": found.repeated,
            "lost": lost,
        }
        if isinstance(system, Strategy):
            settled = _settled(trial)
            figures["outcomes"] = settled.endings.total()
            figures["duplicates"] = settled.duplicates
            if settled.endings.total() != expected.records:
                raise TrialFailed(f"{settled.endings.total()} outcomes are counted for {expected.records} records")
        return figures


def _settled(trial: Trial) -> Settled:
    return asyncio.run(read_settled(trial.job.place.cluster, Topics(trial.job.prefix, trial.job.source)))


def _wait_for_outcomes(trial: Trial, expected: Expected) -> None:
    """Returns when each record has its outcome, or after a while: all may be delivered by the process that was killed,
    before it had counted them, and the dropped ones are not delivered at all."""
    began = time.monotonic()
    while _settled(trial).endings.total() < expected.records and time.monotonic() - began < LOST:
        time.sleep(0.5)


def _read_on(trial: Trial, expected: Expected) -> Delivered:
    """What is delivered when every record is, or when nothing comes any more."""
    found = Delivered()
    taken = 0
    trial.watch.moved = time.monotonic()
    is_calm = False
    while not is_calm:
        arrivals = trial.watch.arrivals[taken:]
        taken += len(arrivals)
        for arrival in arrivals:
            found.add(trial.system.records_of(arrival.value))
        wanted = LOST if expected.contents.keys() - found.contents.keys() else AFTERMATH
        is_calm = time.monotonic() - trial.watch.moved > wanted and taken == len(trial.watch.arrivals)
        time.sleep(0.1)
    return found
