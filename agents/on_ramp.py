"""The on-ramp, which reads the source topic and sends its records in envelopes (Messaging Gateway).

It packs the records that are available. `Admission` says when it may take more; a record that arrives while the line
rests leaves at once.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from functools import partial
from itertools import chain
from typing import Any, cast

from aiokafka import TopicPartition
from confluent_kafka import Message
from msgspec.structs import replace

from metroline.agents.delivery.admission import Admission
from metroline.agents.delivery.bus import Bus
from metroline.agents.delivery.entry_counts import EntryCount, EntryCounts
from metroline.agents.delivery.unit_of_work import confirmed_unit
from metroline.agents.formats.source_queue import Entering, SourceQueue, joined
from metroline.agents.kafka.batch_consumer import BatchConsumer, Handled
from metroline.agents.kafka.cluster import Cluster, ClusterError
from metroline.agents.kafka.consumer import Fetched
from metroline.agents.kafka.group_owner import Notes, Offsets
from metroline.agents.kafka.group_thread import MAX_MESSAGES
from metroline.agents.kafka.tansu import is_embedded
from metroline.agents.kafka.topic_admin import TopicAdmin
from metroline.agents.kafka.topic_survey import topic_id
from metroline.agents.tables.live_rules import LiveRules
from metroline.routing.addresses import ARRIVALS
from metroline.routing.errors import MetrolineError
from metroline.routing.journeys.departures import Departures
from metroline.routing.journeys.entry import enter_in_chunks
from metroline.routing.journeys.tombstones import Tombstones
from metroline.routing.messages.metadata import Metadata
from metroline.routing.messages.record_ids import SEVERAL, Origin, RecordId
from metroline.routing.messages.segment import Segment
from metroline.routing.strategies import Strategy

FILL = 0.8
"""Share of `pack_bytes` that the first packs use. Services make records larger, and a full pack would be split."""

EMPTIED_BYTES = 128 * 1024
"""Bytes of messages that a look brings, at least, while the source holds more: a fetch brings more than these."""

EMPTIED_MESSAGES = MAX_MESSAGES * 9 // 10
"""Number of messages that a look brings, at least, while the source holds more small ones.

The ends of partitions and of transactions take the places of messages, so a full look is seldom one of `MAX_MESSAGES`.
"""


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
        self._counts = EntryCounts()
        self._source_id: str | None = None
        """The id of the source topic; None on the embedded broker, and before partitions are assigned."""
        self._is_embedded: bool | None = None
        """True on the embedded broker; None until it was asked."""
        self._rules_end = 0
        """The offset after the last message of the rules, when partitions were assigned."""

    async def prepare(self) -> None:
        """Wait until the rules table is available."""
        self.bus.metrics.waiting = self._waiting
        await self.rules.ready()

    async def may_take(self) -> None:
        """Wait until the line can take more."""
        await self.admission.before_look(self.consumer.want)  # what it fetches meanwhile tells since when it waits

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
        is_emptied = size < EMPTIED_BYTES and count < EMPTIED_MESSAGES
        self.admission.looked(emptied=is_emptied)
        if not is_emptied:
            self.consumer.want()
        oldest = min(messages[0].timestamp()[1] for messages in fetched.values() if messages) / 1_000
        self.bus.metrics.entering(count, self.clock() - oldest)

    def _waiting(self) -> float:
        """Return the age of the oldest message that was fetched and has not entered, in seconds: 0 if there is none."""
        found = (self.consumer.oldest, self.queue.oldest if self.queue is not None else None)
        written = [at for at in found if at is not None]
        return max(0.0, self.clock() - min(written)) if written else 0.0

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
                raise self._renewed(partition)
            self._next[partition] = of_each[-1] + 1
        unit, confirmation = confirmed_unit(self.bus.work_time)
        departures = await self._departures(fetched, offsets, decoded)
        self.bus.metrics.journeys.entered += len(departures)
        self._count(departures, offsets)
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

    async def _departures(
        self,
        fetched: Fetched,
        offsets: Mapping[TopicPartition, list[int]],
        decoded: Mapping[TopicPartition, Entering] | None,
    ) -> Departures:
        """Return the records of messages with their first steps. Those of all partitions begin together.

        Other tasks run meanwhile, so that rules that take long do not keep this worker from its groups and its pages.
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
        departures = Departures(self.strategy.name, origin, self.bus.limits.max_hops, self.bus.limits.record_bytes)
        chunks = enter_in_chunks(
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
            time.monotonic,
        )
        for _ in chunks:
            await self.bus.pacer.pause()
        return departures

    async def begin(self, partitions: Collection[TopicPartition]) -> None:
        """Check newly assigned partitions; raise `SourceRenewed` if the source topic was created again.

        Partitions that the line's topics do not have yet are held: nothing is read of them.
        """
        held = {partition for partition in partitions if not self.is_open(partition.partition)}
        self._held |= held
        self.consumer.hold(held)
        admin, mark = TopicAdmin(self.cluster), self._mark
        ends = await admin.high_watermarks([*partitions, mark])
        found = await self.consumer.committed_with_notes([*partitions, mark, *map(self._note, partitions)])
        self._source_id = await self._id_of_source()
        self._rules_end = ends.pop(mark)
        is_other = found.get(mark, (0, None))[1] not in {None, "", self._source_id}
        committed = {partition: offset for partition, (offset, _) in found.items()}
        for partition, end in ends.items():
            noted = committed.get(self._note(partition))
            if noted is not None and (partition not in committed or noted > end):
                raise self._renewed(partition)
            if is_other and (partition not in committed or committed[partition] > end):
                raise self._renewed(partition)
            self._counts.begin(partition, *found.get(partition, (None, None)))

    async def _id_of_source(self) -> str | None:
        """Return the id of the source topic, None on the embedded broker, which gives none; raise `ClusterError`."""
        if self._is_embedded is None:
            self._is_embedded = await is_embedded(self.cluster)
        if self._is_embedded:
            return None
        found = await topic_id(self.cluster, self.read[0])
        if found is None:
            raise ClusterError(f"the topic {self.read[0]} is gone, or the user may not describe it")
        return found

    def _count(self, departures: Departures, offsets: Mapping[TopicPartition, list[int]]) -> None:
        """Count the records that entered, partition by partition."""
        segments = list(chain.from_iterable(departures.by_address.values()))
        several = departures.origin.partition == SEVERAL
        counts = Counter(chain.from_iterable(segment.partitions or () for segment in segments))
        for partition, of_each in offsets.items():
            count = counts[partition.partition] if several else len(departures)
            ids = partial(_ids_in, segments, partition.partition)
            self._counts.add(partition, of_each[-1] + 1, ids, count)

    @property
    def entered(self) -> dict[int, EntryCount]:
        """The number of records that entered in each partition of this worker."""
        return self._counts.entered()

    def open_partitions(self) -> None:
        """Begin to read the partitions that were held and that the line's topics have by now."""
        ready = {partition for partition in self._held if self.is_open(partition.partition)}
        self._held -= ready
        self.consumer.release(ready)

    def forget(self, partitions: Collection[TopicPartition]) -> None:
        """Stop tracking partitions that other members own."""
        super().forget(partitions)
        self._counts.forget(partitions)
        for partition in partitions:
            self._next.pop(partition, None)
            if self.queue is not None:
                self.queue.forget(partition)
            self._held.discard(partition)

    def to_commit(self, offsets: Offsets) -> Offsets:
        """Return the offsets of the source, and what outlives the topic: a mark, or else the same offsets as notes."""
        if self._source_id is not None:
            return {**offsets, self._mark: max(self._rules_end, self.rules.version)}
        return {**offsets, **{self._note(partition): offset for partition, offset in offsets.items()}}

    def notes(self, offsets: Offsets) -> Notes:
        """Return the number of records that entered before each of these offsets."""
        noted = {partition: self._counts.note(partition, offset) for partition, offset in offsets.items()}
        notes = {partition: note for partition, note in noted.items() if note is not None}
        return notes if self._source_id is None else notes | {self._mark: self._source_id}

    @property
    def _mark(self) -> TopicPartition:
        """The partition of the rules, beside whose offset the id of the source topic is noted.

        A broker discards the committed offsets of a topic when the topic is deleted. Those of the rules stay. The
        offset itself is the end of the rules, so that the group shows no lag.
        """
        return TopicPartition(self.bus.topics.rules, 0)

    def _note(self, partition: TopicPartition) -> TopicPartition:
        """Return the partition of the arrivals under which the group's offset of a source partition is noted.

        The embedded broker keeps no texts beside offsets. Versions before this one noted offsets on every broker.
        """
        return TopicPartition(self.bus.topics.at(ARRIVALS), partition.partition)

    def _renewed(self, partition: TopicPartition) -> SourceRenewed:
        return SourceRenewed(
            f"{partition.topic}[{partition.partition}] was read before and has been created again since: set "
            f"SOURCE_EPOCH to {self.epoch + 1} to distinguish its records from the old ones"
        )


def _ids_in(segments: Iterable[Segment], partition: int) -> Iterator[RecordId]:
    """Yield the ids of the records of a partition."""
    for segment in segments:
        if segment.partitions is None:
            yield from segment.ids
        else:
            yield from [record for record, one in zip(segment.ids, segment.partitions, strict=True) if one == partition]


def _metadata(messages: Sequence[Message]) -> Metadata:
    """Return the metadata of source messages."""
    return Metadata.of(
        [message.key() for message in messages],
        cast("list[list[tuple[str, bytes | None]] | None]", [message.headers() for message in messages]),
        [message.timestamp()[1] for message in messages],
    )
