"""The on-ramp: source topic in, envelopes out (Messaging Gateway).

It packs what is waiting and never waits for more, so a lone record leaves at once.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.structs import ConsumerRecord, OffsetAndMetadata

from metroline.agents.delivery.bus import Bus
from metroline.agents.kafka.batch_consumer import BatchConsumer
from metroline.agents.kafka.cluster import Cluster
from metroline.agents.kafka.producer import Confirmation
from metroline.agents.kafka.topic_admin import TopicAdmin
from metroline.agents.tables.live_rules import LiveRules
from metroline.routing.addresses import ARRIVALS
from metroline.routing.errors import MetrolineError
from metroline.routing.journeys.departures import Departures
from metroline.routing.journeys.entry import enter
from metroline.routing.messages.record_ids import Origin
from metroline.routing.strategies import Strategy

MOST_RECORDS = 10_000
"""Source messages taken at once: all that a fetch brought, so that packs are full."""


FILL = 0.8
"""Share of `pack_bytes` that first packs are filled to: services make records grow, and a full pack would be split."""


class SourceRenewed(MetrolineError):
    """Raised when the source topic was created anew: records would be taken for old ones of the same offsets."""


def source_origin(epoch: int) -> str:
    """The name under which the records of a source's epoch are settled."""
    return f"source-{epoch}" if epoch else "source"


class OnRamp(BatchConsumer):
    """Reads the source topic and sends its records on their way by one strategy."""

    most_records = MOST_RECORDS

    def __init__(
        self,
        bus: Bus,
        rules: LiveRules,
        strategy: Strategy,
        cluster: Cluster,
        clock: Callable[[], float],
        *,
        epoch: int,
        settings: dict[str, Any],
        **kwargs: Any,
    ) -> None:
        super().__init__(cluster, clock, settings=settings, **kwargs)
        self.bus = bus
        self.rules = rules
        self.strategy = strategy
        self.epoch = epoch
        self.group = bus.topics.on_ramp_group(epoch)
        self.read = [bus.topics.source]

    async def prepare(self) -> None:
        """Waits for the rules table."""
        await self.rules.ready()

    async def handle(
        self, consumer: AIOKafkaConsumer, partition: TopicPartition, messages: list[ConsumerRecord]
    ) -> tuple[int, list[Confirmation]]:
        """Packs and sends the records of these messages."""
        self.bus.metrics.tick()
        origin = Origin(source_origin(self.epoch), partition.partition)
        departures = Departures(self.strategy.name, origin, self.bus.limits.max_hops)
        offsets = [message.offset for message in messages]
        values = [message.value for message in messages]
        enter(departures, offsets, values, self.strategy, self.rules.rule_tables, self.clock())
        return messages[-1].offset + 1, await self.bus.dispatch(departures, FILL)

    async def begin(self, consumer: AIOKafkaConsumer, partitions: Collection[TopicPartition]) -> None:
        """Called when partitions are given to this worker; they are fetched from once their ends are known."""
        consumer.pause(*partitions)
        ends = await TopicAdmin(self.cluster).high_watermarks(partitions)
        for partition, end in ends.items():
            read, noted = await consumer.committed(partition), await consumer.committed(self._note(partition))
            if noted is not None and (read is None or noted > end):
                raise SourceRenewed(
                    f"{partition.topic}[{partition.partition}] was read up to {noted} and was created anew since: set "
                    f"SOURCE_EPOCH to {self.epoch + 1}, so that its records are told from the old"
                )
        consumer.resume(*partitions)

    async def commit(self, consumer: AIOKafkaConsumer, offsets: dict[TopicPartition, int]) -> None:
        """Says how far the source is read, and notes it beside."""
        await super().commit(consumer, offsets)
        await self._commit_notes(consumer, offsets)

    def _note(self, partition: TopicPartition) -> TopicPartition:
        """Under whose name the group's progress is committed a second time.

        A broker forgets what was read of a topic when the topic is deleted: what stands here tells of it afterwards.
        """
        return TopicPartition(self.bus.topics.at(ARRIVALS), partition.partition)

    async def _commit_notes(self, consumer: AIOKafkaConsumer, offsets: dict[TopicPartition, int]) -> None:
        notes = {self._note(partition): OffsetAndMetadata(offset, "") for partition, offset in offsets.items()}
        assignment = consumer._subscription.subscription.assignment  # `commit` takes the group's own topics only
        if assignment is not None:
            await consumer._coordinator.commit_offsets(assignment, notes)
