"""Every topic of a line and its partitions, in one place."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass

from metroline.agents.kafka.cluster import TopicPlan
from metroline.routing.addresses import ARRIVALS, DEAD_LETTERS, DELIVERED, WAITING_ROOMS, service_address
from metroline.routing.messages.itinerary import Decider

TABLES = ("outcomes", "journeys", "dead_letters")
TABLE_BYTES = 16 * 1024 * 1024
"""What an entry of a table may hold: a block of 16 million records of which a tenth is under way takes half of it."""

HOUR, DAY = str(60 * 60 * 1000), str(24 * 60 * 60 * 1000)

LATE = {"min.compaction.lag.ms": DAY}
"""A changelog keeps every entry for so long, for an entry that came late must not push out the one that counts."""


@dataclass(frozen=True, slots=True)
class Topics:
    """The names of a line's topics: `source` is where upstream clients write, ours begin with the prefix."""

    prefix: str
    source: str

    def at(self, address: str) -> str:
        """The topic of an address: a service, a router, the arrivals."""
        return f"{self.prefix}.{address}"

    def address(self, topic: str) -> str:
        """The address of a topic of ours."""
        return topic.removeprefix(f"{self.prefix}.")

    def changelog(self, table: str) -> str:
        """Named without the role, so that tables survive another cut."""
        return self.at(f"table.{table}")

    @property
    def delivered(self) -> str:
        return self.at(DELIVERED)

    @property
    def dead_letters(self) -> str:
        return self.at(DEAD_LETTERS)

    @property
    def rules(self) -> str:
        return self.at("rules")

    @property
    def workers(self) -> str:
        """Where workers say that they are alive."""
        return self.at("workers")

    def on_ramp_group(self, epoch: int) -> str:
        """The on-ramp's consumer group: the same under every cut of roles, another one for each epoch of the source."""
        return f"{self.prefix}.on-ramp" + (f".{epoch}" if epoch else "")

    @property
    def waiting_group(self) -> str:
        """The consumer group of the waiting rooms, the same under every cut of roles."""
        return f"{self.prefix}.waiting"

    def read_by(self, part: str) -> tuple[str, ...]:
        """The topics that a part of the line reads through Faust, apart from the rules that all of them read."""
        if part == "router":
            return tuple(self.at(ask.value) for ask in Decider)
        if part == "arrivals":
            return (self.at(ARRIVALS),)
        return (self.at(service_address(part.removeprefix("service:"))),) if part.startswith("service:") else ()

    def plans(self, partitions: int, stops: Collection[str], message_bytes: int) -> Iterator[TopicPlan]:
        """All topics of ours for a source with so many partitions, whose messages hold `message_bytes` at most."""
        room = {"max.message.bytes": str(2 * message_bytes)}
        for address in (*(ask.value for ask in Decider), *(service_address(stop) for stop in sorted(stops)), ARRIVALS):
            yield TopicPlan(self.at(address), partitions, room)
        yield TopicPlan(self.delivered, partitions, room)
        kept = room | {"retention.ms": "-1"}
        yield TopicPlan(self.dead_letters, partitions, kept)
        for address in WAITING_ROOMS:
            yield TopicPlan(self.at(address), partitions, kept)
        table_room = {"cleanup.policy": "compact", "max.message.bytes": str(TABLE_BYTES)}
        for table in TABLES:
            yield TopicPlan(self.changelog(table), partitions, table_room | LATE)
        yield TopicPlan(self.rules, 1, table_room)
        yield TopicPlan(self.changelog("rules"), 1, table_room)
        yield TopicPlan(self.workers, 1, {"retention.ms": HOUR})
