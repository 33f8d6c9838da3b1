"""The on-ramp, which reads the source topic and sends its records in envelopes (Messaging Gateway).

It packs the records that are available and never waits for more, so a single record leaves at once.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.structs import ConsumerRecord, OffsetAndMetadata

from metroline.agents.delivery.bus import Bus
from metroline.agents.delivery.unit_of_work import confirmed_unit
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

MAX_MESSAGES = 10_000
"""Maximum number of source messages handled at once: usually all that a fetch returned, so that packs are full."""


FILL = 0.8
"""Share of `pack_bytes` that the first packs use. Services make records larger, and a full pack would be split."""


class SourceRenewed(MetrolineError):
    """Raised when the source topic was deleted and created again, so that new records have the offsets of old ones."""


def source_origin(epoch: int) -> str:
    """Return the origin name of the records of a source epoch, which starts at 0."""
    return f"source-{epoch}" if epoch else "source"


class OnRamp(BatchConsumer):
    """Reads the source topic and sends its records on their way under one strategy."""

    most_records = MAX_MESSAGES

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
        """Wait until the rules table is available."""
        await self.rules.ready()

    async def handle(
        self, consumer: AIOKafkaConsumer, partition: TopicPartition, messages: list[ConsumerRecord]
    ) -> tuple[int, list[Confirmation]]:
        """Pack and send the records of these messages; return the offset to commit and the confirmations before it."""
        self.bus.metrics.tick()
        origin = Origin(source_origin(self.epoch), partition.partition)
        departures = Departures(self.strategy.name, origin, self.bus.limits.max_hops)
        offsets = [message.offset for message in messages]
        values = [message.value for message in messages]
        enter(departures, offsets, values, self.strategy, self.rules.rule_tables, self.clock())
        unit, confirmation = confirmed_unit(self.bus.work_time)
        await self.bus.dispatch(departures, unit, FILL)
        unit.release()
        return messages[-1].offset + 1, [confirmation]

    async def begin(self, consumer: AIOKafkaConsumer, partitions: Collection[TopicPartition]) -> None:
        """Check newly assigned partitions; raise `SourceRenewed` if the source topic was created again.

        Fetching is paused until the check is done.
        """
        consumer.pause(*partitions)
        ends = await TopicAdmin(self.cluster).high_watermarks(partitions)
        for partition, end in ends.items():
            read, noted = await consumer.committed(partition), await consumer.committed(self._note(partition))
            if noted is not None and (read is None or noted > end):
                raise SourceRenewed(
                    f"{partition.topic}[{partition.partition}] was read up to offset {noted} and has been created "
                    f"again since: set SOURCE_EPOCH to {self.epoch + 1} to distinguish its records from the old ones"
                )
        consumer.resume(*partitions)

    async def commit(self, consumer: AIOKafkaConsumer, offsets: dict[TopicPartition, int]) -> None:
        """Commit the offsets of the source, and the same offsets as notes that outlive the topic."""
        await super().commit(consumer, offsets)
        await self._commit_notes(consumer, offsets)

    def _note(self, partition: TopicPartition) -> TopicPartition:
        """Return the partition of the arrivals under which the group's offset of a source partition is noted.

        A broker discards the committed offsets of a topic when the topic is deleted. The note stays.
        """
        return TopicPartition(self.bus.topics.at(ARRIVALS), partition.partition)

    async def _commit_notes(self, consumer: AIOKafkaConsumer, offsets: dict[TopicPartition, int]) -> None:
        notes = {self._note(partition): OffsetAndMetadata(offset, "") for partition, offset in offsets.items()}
        assignment = consumer._subscription.subscription.assignment  # `commit` accepts subscribed topics only
        if assignment is not None:
            await consumer._coordinator.commit_offsets(assignment, notes)
