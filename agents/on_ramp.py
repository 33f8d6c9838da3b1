"""The on-ramp, which reads the source topic and sends its records in envelopes (Messaging Gateway).

It packs the records that are available. `Admission` says when it may take more; a record that arrives while the line
rests leaves at once.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from itertools import chain
from typing import Any, cast

from aiokafka import TopicPartition
from confluent_kafka import Message
from msgspec.structs import replace

from metroline.agents.delivery.admission import Admission
from metroline.agents.delivery.bus import Bus
from metroline.agents.delivery.unit_of_work import confirmed_unit
from metroline.agents.formats.source_queue import Entering, SourceQueue, joined
from metroline.agents.kafka.batch_consumer import BatchConsumer, Handled
from metroline.agents.kafka.cluster import Cluster
from metroline.agents.kafka.consumer import Fetched
from metroline.agents.kafka.group_owner import Offsets
from metroline.agents.kafka.group_thread import MAX_MESSAGES
from metroline.agents.kafka.topic_admin import TopicAdmin
from metroline.agents.tables.live_rules import LiveRules
from metroline.routing.addresses import ARRIVALS
from metroline.routing.errors import MetrolineError
from metroline.routing.journeys.departures import Departures
from metroline.routing.journeys.entry import enter
from metroline.routing.journeys.tombstones import Tombstones
from metroline.routing.messages.metadata import Metadata
from metroline.routing.messages.record_ids import SEVERAL, Origin
from metroline.routing.strategies import Strategy

FILL = 0.8
"""Share of `pack_bytes` that the first packs use. Services make records larger, and a full pack would be split."""

EMPTIED_BYTES = 128 * 1024
"""Bytes of messages that a look brings, at least, while the source holds more: a fetch brings more than these."""


class SourceRenewed(MetrolineError):
    """Raised when the source topic was deleted and created again, so that new records have the offsets of old ones."""


def source_origin(epoch: int) -> str:
    """Return the origin name of the records of a source epoch, which starts at 0."""
    return f"source-{epoch}" if epoch else "source"


class OnRamp(BatchConsumer):
    """Reads the source topic and sends its records on their way under one strategy."""

    client_name = "on-ramp"

    def __init__(
        self,
        bus: Bus,
        rules: LiveRules,
        strategy: Strategy,
        cluster: Cluster,
        clock: Callable[[], float],
        *,
        admission: Admission,
        epoch: int,
        tombstones: Tombstones,
        settings: Mapping[str, Any],
        queue: SourceQueue | None = None,
        is_open: Callable[[int], bool] = lambda _: True,
        **kwargs: Any,
    ) -> None:
        """Take `is_open`, which returns whether records of a partition of the source may enter the line.

        `queue` reads the messages of a source that are not JSON; None if they are.
        """
        super().__init__(cluster, clock, settings=settings, **kwargs)
        self.is_open = is_open
        self.queue = queue
        self.bus = bus
        self.rules = rules
        self.strategy = strategy
        self.admission = admission
        self.epoch = epoch
        self.tombstones = tombstones
        self.group = bus.topics.on_ramp_group(epoch)
        self.read = [bus.topics.source]
        self._held: set[TopicPartition] = set()
        """Assigned partitions that the line's topics do not have yet."""
        self._next: dict[TopicPartition, int] = {}
        """The offset after the last message that was handled of each partition."""

    async def prepare(self) -> None:
        """Wait until the rules table is available."""
        await self.rules.ready()

    async def may_take(self) -> None:
        """Wait until the line can take more."""
        await self.admission.before_look()

    def is_held_back(self, partition: TopicPartition) -> bool:
        """Return whether nothing of the source is taken: the line is behind, or messages wait for their schemas."""
        return self.admission.holds_back or (self.queue is not None and partition in self.queue.held)

    def held_back(self) -> Fetched:
        """Return the partitions whose messages may have their schemas by now."""
        return {} if self.queue is None else self.queue.due(self.clock())

    def looked(self, fetched: Fetched) -> None:
        """Tell whether the source holds more, and for how long its oldest message has waited."""
        if not any(fetched.values()):  # messages that waited for their schemas were seen before
            return
        count = sum(map(len, fetched.values()))
        size = sum(sum(map(len, messages)) for messages in fetched.values())
        is_emptied = size < EMPTIED_BYTES and count < MAX_MESSAGES
        self.admission.looked(emptied=is_emptied)
        if not is_emptied:
            self.consumer.want()
        oldest = min(messages[0].timestamp()[1] for messages in fetched.values() if messages) / 1_000
        self.bus.metrics.entering(count, self.clock() - oldest)

    async def handle(self, fetched: Fetched) -> Handled:
        """Pack and send the records of these messages; return what may be committed once they are confirmed.

        Raise `SourceRenewed` if the messages have offsets that were handled before: librdkafka starts at the beginning
        of a topic that was created again.
        """
        self.bus.metrics.tick()
        decoded = None if self.queue is None else await self._decoded(fetched)
        if decoded is not None:
            fetched = {partition: messages for partition, (messages, _) in decoded.items()}
            if not fetched:
                return {}
        offsets = {partition: [one.offset() or 0 for one in messages] for partition, messages in fetched.items()}
        for partition, of_each in offsets.items():
            if of_each[0] < self._next.get(partition, 0):
                raise self._renewed(partition, self._next[partition])
            self._next[partition] = of_each[-1] + 1
        unit, confirmation = confirmed_unit(self.bus.work_time)
        departures = self._departures(fetched, offsets, decoded)
        self.bus.metrics.journeys.entered += len(departures)
        await self.bus.dispatch(departures, unit, FILL)
        unit.release()
        return {partition: (of_each[-1] + 1, confirmation) for partition, of_each in offsets.items()}

    async def _decoded(self, fetched: Fetched) -> Mapping[TopicPartition, Entering]:
        """Read the messages of a source that is not JSON. Those that wait for a schema hold back their partitions."""
        assert self.queue is not None
        held = frozenset(self.queue.held)
        decoded = await self.queue.take(fetched, self.clock())
        if paused := self.queue.held - held:
            self.consumer.pause(paused)
        if resumed := held - self.queue.held:
            self.consumer.resume(resumed)
        return decoded

    def _departures(
        self,
        fetched: Fetched,
        offsets: Mapping[TopicPartition, list[int]],
        decoded: Mapping[TopicPartition, Entering] | None,
    ) -> Departures:
        """Return the records of messages with their first steps. Those of all partitions begin together.

        `decoded` has what was read of messages that are not JSON.
        """
        together = list(chain.from_iterable(fetched.values()))
        numbers = [partition.partition for partition, messages in fetched.items() for _ in messages]
        is_one = len(fetched) == 1
        origin = Origin(source_origin(self.epoch), numbers[0] if is_one else SEVERAL)
        metadata = _metadata(together)
        if decoded is None:
            values, problems = [message.value() for message in together], None
        else:
            read = joined([one for _, one in decoded.values()])
            values, problems = list(read.values), read.problems
            if read.schemas is not None:
                metadata = replace(metadata, schemas=tuple(read.schemas))
        departures = Departures(self.strategy.name, origin, self.bus.limits.max_hops)
        enter(
            departures,
            list(chain.from_iterable(offsets.values())),
            values,
            self.strategy,
            self.rules.rule_tables,
            self.clock(),
            None if is_one else numbers,
            metadata,
            self.tombstones,
            problems,
        )
        return departures

    async def begin(self, partitions: Collection[TopicPartition]) -> None:
        """Check newly assigned partitions; raise `SourceRenewed` if the source topic was created again.

        Partitions that the line's topics do not have yet are held: nothing is read of them.
        """
        held = {partition for partition in partitions if not self.is_open(partition.partition)}
        self._held |= held
        self.consumer.hold(held)
        ends = await TopicAdmin(self.cluster).high_watermarks(partitions)
        committed = await self.consumer.committed([*partitions, *map(self._note, partitions)])
        for partition, end in ends.items():
            noted = committed.get(self._note(partition))
            if noted is not None and (partition not in committed or noted > end):
                raise self._renewed(partition, noted)

    def open_partitions(self) -> None:
        """Begin to read the partitions that were held and that the line's topics have by now."""
        ready = {partition for partition in self._held if self.is_open(partition.partition)}
        self._held -= ready
        self.consumer.release(ready)

    def forget(self, partitions: Collection[TopicPartition]) -> None:
        """Stop tracking partitions that other members own."""
        super().forget(partitions)
        for partition in partitions:
            self._next.pop(partition, None)
            if self.queue is not None:
                self.queue.forget(partition)
            self._held.discard(partition)

    def to_commit(self, offsets: Offsets) -> Offsets:
        """Return the offsets of the source, and the same offsets as notes that outlive the topic."""
        return {**offsets, **{self._note(partition): offset for partition, offset in offsets.items()}}

    def _note(self, partition: TopicPartition) -> TopicPartition:
        """Return the partition of the arrivals under which the group's offset of a source partition is noted.

        A broker discards the committed offsets of a topic when the topic is deleted. The note stays.
        """
        return TopicPartition(self.bus.topics.at(ARRIVALS), partition.partition)

    def _renewed(self, partition: TopicPartition, reached: int) -> SourceRenewed:
        return SourceRenewed(
            f"{partition.topic}[{partition.partition}] was read up to offset {reached} and has been created "
            f"again since: set SOURCE_EPOCH to {self.epoch + 1} to distinguish its records from the old ones"
        )


def _metadata(messages: Sequence[Message]) -> Metadata:
    """Return the metadata of source messages."""
    return Metadata.of(
        [message.key() for message in messages],
        cast("list[list[tuple[str, bytes | None]] | None]", [message.headers() for message in messages]),
        [message.timestamp()[1] for message in messages],
    )
