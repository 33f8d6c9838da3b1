"""The on-ramp: takes source messages in batches straight from aiokafka, makes envelopes of them (Messaging Gateway).

It packs what is waiting and never waits for more, so a lone record leaves at once.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

from aiokafka import AIOKafkaConsumer, ConsumerRebalanceListener, TopicPartition
from aiokafka.errors import CommitFailedError, IllegalStateError, KafkaError
from aiokafka.structs import ConsumerRecord, OffsetAndMetadata
from mode import Service

from agents.books import LiveBooks
from agents.bus import Bus, Confirmation
from agents.cluster import Cluster
from agents.letters import kept
from routing.envelope import Origin, RecordId, Segment
from routing.errors import MetrolineError
from routing.itinerary import ARRIVALS, Course, Decision
from routing.outcome import Cause, Outcome
from routing.rules import SOURCE
from routing.source import read_message, read_plain
from routing.strategies import NOTHING, Strategy

MOST_RECORDS = 10_000
"""Source messages taken at once: all that a fetch brought, so that packs are full."""

CHUNK = 100
"""Source messages that are read together; where one of them needs a closer look, all of them get it."""

FILL = 0.75
"""How full packs begin: services make records grow, and a full pack would go on as a pack and a small rest."""

OPEN_BATCHES = 4
"""Batches of a partition that may be unconfirmed while the next one is taken."""

COMMIT_SECONDS = 1.0
IDLE_SECONDS = 0.2


class SourceRenewed(MetrolineError):
    """Raised when the source topic was created anew: records would be taken for old ones of the same offsets."""


@dataclass(slots=True)
class _Progress:
    """What of a partition is on its way: batches in order, each with the offset behind it."""

    batches: deque[tuple[int, asyncio.Future[Any]]] = field(default_factory=deque)
    done: int | None = None
    committed: int | None = None

    def advance(self) -> None:
        """Moves past the batches at the head that are confirmed."""
        while self.batches and self.batches[0][1].done():
            if self.batches[0][1].cancelled() or self.batches[0][1].exception() is not None:
                return
            self.done = self.batches.popleft()[0]


def source_origin(epoch: int) -> str:
    """The name under which the records of a source's epoch are settled."""
    return f"source-{epoch}" if epoch else "source"


class OnRamp(Service):
    """Reads the source topic and sends its records on their way by one strategy."""

    def __init__(
        self,
        bus: Bus,
        books: LiveBooks,
        strategy: Strategy,
        cluster: Cluster,
        clock: Callable[[], float],
        *,
        epoch: int,
        settings: dict[str, Any],
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.bus = bus
        self.books = books
        self.strategy = strategy
        self.cluster = cluster
        self.clock = clock
        self.epoch = epoch
        self._settings = settings
        self._progress: dict[TopicPartition, _Progress] = {}
        self._turn = asyncio.Lock()

    @Service.task
    async def _run(self) -> None:
        topics = self.bus.topics
        group = topics.on_ramp_group(self.epoch)
        async with self.cluster.consuming(group_id=group, **self._settings) as consumer:
            consumer.subscribe([topics.source], listener=_Listener(self, consumer))
            try:
                await self.books.ready()  # while the group is joined
                await self._take(consumer)
            except MetrolineError as error:
                await self.crash(error)
            finally:
                await self._finish(consumer)

    async def _take(self, consumer: AIOKafkaConsumer) -> None:
        committed_at = self.clock()
        while not self.should_stop:
            batches = await consumer.getmany(timeout_ms=int(IDLE_SECONDS * 1000), max_records=MOST_RECORDS)
            async with self._turn:
                for partition, messages in batches.items():
                    await self._depart(partition, messages)
            if self.clock() - committed_at >= COMMIT_SECONDS:
                await self._commit(consumer)
                committed_at = self.clock()

    async def _depart(self, partition: TopicPartition, messages: list[ConsumerRecord]) -> None:
        progress = self._progress.get(partition)
        if progress is None:  # the partition was taken away after the fetch
            return
        while len(progress.batches) >= OPEN_BATCHES:
            await asyncio.wait([progress.batches[0][1]])
            progress.advance()
        self.bus.meter.tick()
        confirmations = await self._send(partition.partition, messages)
        progress.batches.append((messages[-1].offset + 1, asyncio.gather(*confirmations)))

    async def _send(self, partition: int, messages: Sequence[ConsumerRecord]) -> list[Confirmation]:
        departures = self.bus.departures(self.strategy.name, Origin(source_origin(self.epoch), partition))
        batch = Batch(self.strategy, self.books)
        for first in range(0, len(messages), CHUNK):
            chunk = messages[first : first + CHUNK]
            batch.add([message.offset for message in chunk], [message.value for message in chunk])
        departures.add_courses(batch.segment(self.clock()), batch.courses, "on-ramp")
        return await self.bus.dispatch(departures, FILL)

    async def begin(self, consumer: AIOKafkaConsumer, partitions: Collection[TopicPartition]) -> None:
        """Called when partitions are given to this worker; they are fetched from once their ends are known."""
        consumer.pause(*partitions)
        ends = await self.cluster.high_watermarks(partitions)
        for partition, end in ends.items():
            read, noted = await consumer.committed(partition), await consumer.committed(self._note(partition))
            if noted is not None and (read is None or noted > end):
                raise SourceRenewed(
                    f"{partition.topic}[{partition.partition}] was read up to {noted} and was created anew since: set "
                    f"SOURCE_EPOCH to {self.epoch + 1}, so that its records are told from the old"
                )
            self._progress[partition] = _Progress()
        consumer.resume(*partitions)

    async def release(self, consumer: AIOKafkaConsumer) -> None:
        """Called before partitions are taken away: what was sent is confirmed and committed first."""
        async with self._turn:
            await self._finish(consumer)
            self._progress.clear()

    async def _finish(self, consumer: AIOKafkaConsumer) -> None:
        open_batches = [future for progress in self._progress.values() for _, future in progress.batches]
        if open_batches:
            await asyncio.wait(open_batches, timeout=5.0)
        await self._commit(consumer)

    async def _commit(self, consumer: AIOKafkaConsumer) -> None:
        offsets = {}
        for partition, progress in self._progress.items():
            progress.advance()
            if progress.done is not None and progress.done != progress.committed:
                offsets[partition] = progress.done
        if not offsets:
            return
        try:
            await consumer.commit(offsets)
            await self._commit_notes(consumer, offsets)
        except (CommitFailedError, IllegalStateError) as error:  # others have the partitions now and take these again
            self.log.info("offsets of %r could not be committed: %r", list(offsets), error)
            return
        except KafkaError as error:
            self.log.warning("offsets of %r could not be committed, trying again: %r", list(offsets), error)
            return
        for partition, offset in offsets.items():
            self._progress[partition].committed = offset

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


class Batch:
    """The records of a batch of source messages, each with its id, its line and its way."""

    def __init__(self, strategy: Strategy, books: LiveBooks) -> None:
        self.strategy = strategy
        self.books = books.books
        self.ids: list[RecordId] = []
        self.lines: list[bytes] = []
        self.courses: list[Course] = []

    def add(self, offsets: Sequence[int], values: Sequence[bytes | None]) -> None:
        """Takes source messages; nearly always each is one record on one line, and all are read at once."""
        records = read_plain(values, self.strategy.reader(self.books, SOURCE))
        if records is None:
            for offset, value in zip(offsets, values, strict=True):
                self._add_lines(offset, value)
            return
        self.ids += offsets
        self.lines += cast("Sequence[bytes]", values)
        self.courses += self.strategy.begin(self.books, records)

    def _add_lines(self, offset: int, value: bytes | None) -> None:
        """Takes a source message line by line: a line that is no record is a dead letter of its own."""
        lines = read_message(value)
        for index, line in enumerate(lines):
            self.ids.append(offset if len(lines) == 1 else (offset, index, len(lines)))
            if line.record is None:
                self.lines.append(kept(line.line))
                outcome = Outcome.dead(Cause.MALFORMED_RECORD, line.problem or "")
                self.courses.append(Decision(None, outcome, None, 0, NOTHING))
            else:
                self.lines.append(line.line)
                self.courses += self.strategy.begin(self.books, [line.record])

    def segment(self, at: float) -> Segment:
        """All of them, before they go their ways."""
        return Segment(tuple(self.ids), tuple(self.lines), at)


class _Listener(ConsumerRebalanceListener):  # type: ignore[misc]
    """Hands rebalances to the on-ramp."""

    def __init__(self, on_ramp: OnRamp, consumer: AIOKafkaConsumer) -> None:
        self.on_ramp = on_ramp
        self.consumer = consumer

    async def on_partitions_revoked(self, revoked: set[TopicPartition]) -> None:
        await self.on_ramp.release(self.consumer)

    async def on_partitions_assigned(self, assigned: set[TopicPartition]) -> None:
        try:
            await self.on_ramp.begin(self.consumer, assigned)
        except MetrolineError as error:
            await self.on_ramp.crash(error)
