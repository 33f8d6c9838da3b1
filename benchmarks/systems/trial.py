"""One run of one system: its topics, its process, its deliveries, and the check of its result."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from benchmarks.systems.brokers import Testbed
from benchmarks.systems.expected import Delivered, Expected, Workload
from benchmarks.systems.process_usage import UsageSampler
from benchmarks.systems.source_producer import PARTITIONS, SourceProducer
from benchmarks.systems.system import RunConfig, RunningSystem, System
from benchmarks.systems.topic_watch import DeliveryWatch
from metroline.agents.kafka.topic_admin import TopicAdmin, TopicPlan
from metroline.routing.errors import MetrolineError

STALL_SECONDS = 60.0
"""Time without a delivered record after which a trial has failed."""
QUIET_SECONDS = 1.0
"""Time without a delivered record after which no more are expected."""


class TrialFailed(MetrolineError):
    """Raised when a system does not finish, or finishes with a wrong result."""


class Trial:
    """One run of a system on topics of its own."""

    def __init__(
        self,
        system: System,
        testbed: Testbed,
        partitions: int = PARTITIONS,
        *,
        session_seconds: float,
        at_load: bool,
    ) -> None:
        self.system = system
        self.partitions = partitions
        self.config = RunConfig(testbed, f"bench-{uuid.uuid4().hex[:10]}", session_seconds, at_load)
        self.source = SourceProducer(testbed.broker.bootstrap, self.config.source, 20 if at_load else 0, partitions)
        self.watch = DeliveryWatch(
            testbed.broker.bootstrap,
            system.first_topics(self.config.prefix),
            f"{self.config.prefix}.delivered",
            system.count_records,
            partitions,
        )
        self.running: RunningSystem | None = None
        self.dropped: int | None = None

    @property
    def pid(self) -> int:
        """Return the process id of the running system."""
        assert self.running is not None
        return self.running.child.pid

    @contextmanager
    def topics(self) -> Iterator[None]:
        """Create the topics and watch them while the block runs; then delete them."""
        names = [self.config.source, *self.system.topics(self.config.prefix)]
        plans = [TopicPlan(name, self.partitions) for name in names]
        asyncio.run(TopicAdmin(self.config.testbed.cluster).create(plans))
        try:
            with self.watch:
                yield
        finally:
            self.config.testbed.delete(self.config.prefix)

    @contextmanager
    def process(self, *, stops_in_order: bool = True) -> Iterator[UsageSampler]:
        """Run the system while the block runs, and sample its CPU time and memory."""
        self.running = self.system.start(self.config)
        try:
            with UsageSampler(self.running.child.pid) as usage:
                yield usage
                if stops_in_order:
                    self.dropped = self.running.stop()
        finally:
            self.running.child.stop()

    def wait_for(self, records: int, description: str) -> None:
        """Wait until this number of records is delivered; raise `TrialFailed` if the deliveries stall."""
        self._wait(
            lambda: self.watch.records >= records,
            lambda: f"{self.watch.records} of {records} {description} delivered",
        )

    def _wait(self, is_done: Callable[[], bool], describe: Callable[[], str]) -> None:
        self.watch.last_seen_at = time.monotonic()
        while not is_done():
            if self.watch.failure:
                raise TrialFailed(f"the deliveries cannot be read: {self.watch.failure}")
            if self.running is not None and self.running.child.exit_code is not None:
                raise TrialFailed(f"the process ended: {self.running.child.last_words()}")
            if time.monotonic() - self.watch.last_seen_at > STALL_SECONDS:
                words = self.running.child.last_words() if self.running else ""
                raise TrialFailed(f"{describe()}, none for {STALL_SECONDS:g} s; {words}")
            time.sleep(0.02)

    def wait_until_quiet(self) -> None:
        """Wait until no record is delivered for a while."""
        while time.monotonic() - self.watch.last_seen_at < QUIET_SECONDS:
            time.sleep(0.05)

    def warm_up(self, workload: Workload) -> None:
        """Take the warm-up through the line and wait until the system rests."""
        self.source.load(workload.warm_up)
        self.wait_for(len(workload.warm_up_expected.contents), "warm-up records")
        self.wait_until_quiet()

    def delivered(self) -> Delivered:
        found = Delivered()
        for delivery in self.watch.deliveries:
            found.add(self.system.decode_records(delivery.value))
        return found

    def verify(self, expected: Expected) -> None:
        """Raise `TrialFailed` unless each expected record was delivered once and unchanged, and all others dropped."""
        delivered = self.delivered()
        problems = delivered.problems(expected)
        if delivered.repeated:
            problems.append(f"{delivered.repeated} records were delivered again, though nothing was killed")
        if self.dropped != expected.dropped.total():
            problems.append(f"{self.dropped} records are reported as dropped, not {expected.dropped.total()}")
        if problems:
            raise TrialFailed("; ".join(problems))
