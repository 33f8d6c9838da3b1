"""The name, partitions and configuration of every topic of a line."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field

from metroline.agents.kafka.topic_admin import TopicPlan
from metroline.routing.addresses import (
    ARRIVALS,
    CONDUCTOR,
    DEAD_LETTERS,
    DELIVERED,
    END,
    MAP_MAKER,
    SWITCH,
    WAITING_ROOMS,
    service_address,
)

ROUTERS = (CONDUCTOR, MAP_MAKER, SWITCH)

TABLES = ("outcomes", "journeys", "dead_letters")
"""The tables of the arrivals."""

TABLE_BYTES = 16 * 1024 * 1024
"""Size limit of a table's entries: a block of 16 million records, a tenth of them under way, takes half of it."""

HOUR_MS = str(60 * 60 * 1000)

PULSES_MS = str(10 * 60 * 1000)
"""Time for which pulses are kept: pages show a few minutes of them."""

SEGMENT_BYTES = 32 * 1024 * 1024
"""Size of the files in which brokers keep a topic of the line, in bytes.

A broker neither deletes nor compacts the file that it writes to. Its default size of 1 GiB would keep a week's
acknowledged messages on disk, and have workers read a week's entries of a changelog when they start.
"""

JOURNEYS = {"retention.bytes": str(16 * 1024 * 1024), "retention.ms": str(7 * 24 * 3600 * 1000)}
"""Bounds of the kept journeys of a partition, which are compressed: a few ten thousand of them, for a week."""

JOURNEYS_SEGMENT_BYTES = 4 * 1024 * 1024
"""Size of the files in which brokers keep them. They delete whole files."""

JOURNAL = {
    "retention.bytes": str(4 * 1024 * 1024),
    "retention.ms": str(90 * 24 * 3600 * 1000),
    "segment.bytes": str(1024 * 1024),
}
"""Bounds of each topic of the journal: more than ten thousand notes, for three months."""

COMPACTION_LAG = {"min.compaction.lag.ms": HOUR_MS}
"""Keeps every entry of a changelog for an hour: one that was written late must not displace the one that counts.

A worker that stood still and writes late joins its group anew, and the entries that count are written again then (see
`OwnedTable.restore`). At ten entries a second an hour is 36,000 entries to read when a worker starts.
"""


@dataclass(frozen=True, slots=True)
class Topics:
    """The topics of a line. Upstream clients write to `source`; the names of the others begin with `prefix`."""

    prefix: str
    source: str
    ends: Mapping[str, str] = field(default_factory=dict, hash=False)
    """The topics of the ends that do not share the topic `delivered`, by the ends' names. Others may use them, too."""
    has_schedules: bool = False
    """True if records enter the line by the clock."""

    def at(self, address: str) -> str:
        """Return the topic of an address: a service, a router or the arrivals."""
        return f"{self.prefix}.{address}"

    def address(self, topic: str) -> str:
        """Return the address of a topic that begins with the prefix."""
        return topic.removeprefix(f"{self.prefix}.")

    def changelog(self, table: str) -> str:
        """Return the changelog topic of a table. It is named without the role, so that tables survive a hand-over."""
        return self.at(f"table.{table}")

    def end(self, name: str) -> str:
        """Return the topic of the records that are delivered at an end."""
        return self.ends.get(name) or self.at(DELIVERED)

    @property
    def delivered(self) -> str:
        """The topic of the default end."""
        return self.end(END)

    @property
    def dead_letters(self) -> str:
        """The topic of dead letters."""
        return self.at(DEAD_LETTERS)

    @property
    def journeys(self) -> str:
        """The topic of some of the journeys that ended without a failure."""
        return self.at("journeys")

    @property
    def rules(self) -> str:
        """The topic of published rules tables."""
        return self.at("rules")

    @property
    def replay_jobs(self) -> str:
        """The topic of the jobs that replay dead letters."""
        return self.at("replay-jobs")

    @property
    def journal(self) -> str:
        """The topic of notes on who did what to the line."""
        return self.at("journal")

    @property
    def worker_journal(self) -> str:
        """The topic of notes on workers that start and stop. A worker that does so all day fills no other topic."""
        return self.at("worker-journal")

    @property
    def comparisons(self) -> str:
        """The topic of the comparisons of strategies that were run on this line."""
        return self.at("comparisons")

    @property
    def schedules(self) -> str:
        """The topic of the ticks of schedules whose records have entered the line."""
        return self.at("schedules")

    @property
    def workers(self) -> str:
        """The topic of the workers' heartbeats."""
        return self.at("workers")

    @property
    def pulses(self) -> str:
        """The topic of the workers' live figures."""
        return self.at("pulses")

    def on_ramp_group(self, epoch: int) -> str:
        """Return the on-ramp's consumer group: one for each epoch of the source, whatever the roles."""
        return f"{self.prefix}.on-ramp" + (f".{epoch}" if epoch else "")

    @property
    def waiting_group(self) -> str:
        """The consumer group of the waiting rooms, whatever the roles."""
        return f"{self.prefix}.waiting"

    def read_by(self, part: str) -> tuple[str, ...]:
        """Return the topics that a part of the line reads through Faust, except the rules, which every part reads."""
        if part == "router":
            return tuple(map(self.at, ROUTERS))
        if part == "arrivals":
            return (self.at(ARRIVALS),)
        return (self.at(service_address(part.removeprefix("service:"))),) if part.startswith("service:") else ()

    def partitioned(self, stops: Collection[str]) -> tuple[str, ...]:
        """Return the topics that have as many partitions as the source."""
        several = 2  # any number that tells them from the topics that have one
        plans = self.plans(several, stops, 0)
        return tuple(plan.name for plan in plans if plan.partitions == several and not plan.is_shared)

    def plans(self, partitions: int, stops: Collection[str], message_bytes: int) -> Iterator[TopicPlan]:
        """Yield every topic but the source, for a source with this many partitions and this `max.message.bytes`."""
        size = {"max.message.bytes": str(2 * message_bytes)}
        segments = {"segment.bytes": str(max(SEGMENT_BYTES, 2 * message_bytes))}  # no message may be larger
        if END not in self.ends:
            yield TopicPlan(self.delivered, partitions, size)
        for topic in self.ends.values():
            yield TopicPlan(topic, partitions, size, is_shared=True)
        for address in (*ROUTERS, *map(service_address, sorted(stops)), ARRIVALS, *WAITING_ROOMS):
            yield TopicPlan(self.at(address), partitions, size | segments | {"retention.ms": "-1"})
        yield TopicPlan(self.dead_letters, partitions, size | {"retention.ms": "-1"})
        yield TopicPlan(self.journeys, partitions, JOURNEYS | {"segment.bytes": str(JOURNEYS_SEGMENT_BYTES)})
        compacted = {"cleanup.policy": "compact", "max.message.bytes": str(TABLE_BYTES)}
        for table in TABLES:
            yield TopicPlan(self.changelog(table), partitions, compacted | segments | COMPACTION_LAG)
        for topic in (self.rules, self.changelog("rules")):
            yield TopicPlan(topic, 1, compacted)
        own = (self.replay_jobs, self.comparisons, *((self.schedules,) if self.has_schedules else ()))
        for topic in own:
            yield TopicPlan(topic, 1, compacted | segments | COMPACTION_LAG)
        for topic in (self.journal, self.worker_journal):
            yield TopicPlan(topic, 1, JOURNAL)
        yield TopicPlan(self.workers, 1, {"retention.ms": HOUR_MS, "segment.ms": HOUR_MS})
        yield TopicPlan(self.pulses, 1, {"retention.ms": PULSES_MS, "segment.ms": PULSES_MS})
