"""Reads topics in batches and commits an offset once everything made from the messages before it is confirmed."""

from __future__ import annotations

import asyncio
import time
from abc import abstractmethod
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from typing import Any

from aiokafka import TopicPartition
from confluent_kafka import OFFSET_BEGINNING, KafkaError, Message
from mode import Service

from metroline.agents.kafka.absence_watch import Membership
from metroline.agents.kafka.cluster import Cluster
from metroline.agents.kafka.consumer import Fetched
from metroline.agents.kafka.gaps import Gaps, gaps_in
from metroline.agents.kafka.group_consumer import GroupConsumer
from metroline.agents.kafka.group_owner import Notes, Offsets
from metroline.agents.kafka.group_thread import FINISH_SECONDS
from metroline.agents.kafka.patience import answered
from metroline.agents.kafka.positions import names_of
from metroline.agents.kafka.producer import Confirmation
from metroline.agents.kafka.progress import Progress
from metroline.agents.kafka.regularly import regularly
from metroline.agents.kafka.stopped_partitions import StoppedPartitions
from metroline.agents.kafka.tansu import may_leave
from metroline.routing.errors import MetrolineError

MAX_OPEN_BATCHES = 4_096
"""Batches of a partition that may be unconfirmed while the next one is handled. Behind one that a slow record holds
open, there may be many that are done."""

COMMIT_SECONDS = 1.0
"""Time between two commits."""

IDLE_SECONDS = 0.2
"""Time that a look waits for messages."""

LOST = (KafkaError.ILLEGAL_GENERATION, KafkaError.UNKNOWN_MEMBER_ID, KafkaError.REBALANCE_IN_PROGRESS)
"""Answers to a commit of a member that other members have replaced. They read the messages again."""

Handled = Mapping[TopicPartition, tuple[int, Confirmation]]
"""For each partition, the next offset to commit, and the confirmation that must arrive first."""


class BatchConsumer(Service):
    """A member of a consumer group that hands batches of messages to `handle`."""

    client_name: str
    """The name of the client, for logs and the brokers."""
    group: str
    """The consumer group."""
    read: Sequence[str]
    """The topics."""

    def __init__(
        self,
        cluster: Cluster,
        clock: Callable[[], float],
        *,
        settings: Mapping[str, Any],
        gaps: Gaps | None = None,
        stopped: StoppedPartitions | None = None,
        **kwargs: Any,
    ) -> None:
        """Take `settings` as configuration of librdkafka.

        Gaps between offsets are noted in `gaps`, partitions whose messages only a newer version reads in `stopped`.
        """
        super().__init__(**kwargs)
        self.cluster = cluster
        self.clock = clock
        self.consumer: GroupConsumer
        """The consumer, while the service runs."""
        self._settings = settings
        self._gaps = Gaps() if gaps is None else gaps
        self._left = StoppedPartitions() if stopped is None else stopped
        self.progress: dict[TopicPartition, Progress] = {}
        """The progress of each assigned partition."""
        self._reached: dict[TopicPartition, int] = {}
        """The offset after the last message that was read of each assigned partition, as far as it is known."""
        self._ends: dict[TopicPartition, int] = {}
        """The ends of partitions that the consumer reached, where there is more than messages before them."""
        self._turn = asyncio.Lock()

    @abstractmethod
    async def handle(self, fetched: Fetched) -> Handled:
        """Handle messages. Return what may be committed once it is confirmed."""

    async def prepare(self) -> None:
        """Wait until messages may be handled. Called while the group is joined."""

    async def begin(self, partitions: Collection[TopicPartition]) -> None:
        """Prepare for partitions that were assigned to this worker."""

    async def may_take(self) -> None:
        """Wait until messages may be taken. Called before each look."""

    def looked(self, fetched: Fetched) -> None:
        """Note what a look brought, before it is handled. Not called after a look that brought nothing."""

    def wait_seconds(self) -> float:
        """Return how long the next look may wait for messages, in seconds."""
        return IDLE_SECONDS

    def held_back(self) -> Fetched:
        """Return the partitions of which messages were held back that can be handled now, without new messages."""
        return {}

    def is_held_back(self, partition: TopicPartition) -> bool:
        """Return whether a partition is not read at present, on purpose."""
        return False

    @property
    def is_joined(self) -> bool:
        """True while the group is joined and the partitions that it assigned are being read."""
        consumer: GroupConsumer | None = getattr(self, "consumer", None)
        return consumer is not None and consumer.is_joined

    @property
    def membership(self) -> Membership:
        """The membership in the group."""
        consumer: GroupConsumer | None = getattr(self, "consumer", None)
        return Membership(self.group, False, 0) if consumer is None else consumer.membership

    @property
    def ahead(self) -> int:
        """The number of messages that have not been taken from this worker's partitions, as far as it is known."""
        consumer: GroupConsumer | None = getattr(self, "consumer", None)
        ends = consumer.ends if consumer is not None else {}
        return sum(max(0, ends.get(tp, 0) - reached) for tp, reached in self._reached.items() if reached >= 0)

    async def next_to_read(self) -> dict[TopicPartition, int]:
        """Return the next offset of the partitions that nothing keeps from being read; raise `ClusterError`."""
        await self._ask_where_to_begin(self.progress)
        return {
            partition: self._reached[partition]
            for partition, progress in self.progress.items()
            if partition in self._reached and not progress.batches and not self._rests(partition)
        }

    async def read_again(self, offsets: Offsets) -> None:
        """Go to these offsets, if they are still those to be read next; raise `ClusterError`."""
        async with self._turn:  # nothing is taken meanwhile
            still = await self.next_to_read()
            if again := {tp: offset for tp, offset in offsets.items() if still.get(tp) == offset}:
                await self.consumer.read_again(again)

    def _rests(self, partition: TopicPartition) -> bool:
        return partition in self._left or self.is_held_back(partition)

    async def _answered(self, ask: Callable[[], Awaitable[None]]) -> None:
        """Ask until the brokers answer, unless the service stops."""
        await answered(ask, self.client_name, lambda: not self.should_stop)

    async def _ask_where_to_begin(self, partitions: Iterable[TopicPartition]) -> None:
        """Find the committed offsets of partitions of which nothing was read so far; raise `ClusterError`."""
        unknown = [partition for partition in partitions if partition not in self._reached]
        if unknown:
            committed = await self.consumer.committed(unknown)
            for partition in unknown:
                self._reached.setdefault(partition, committed.get(partition, OFFSET_BEGINNING))

    @Service.task
    async def _run(self) -> None:
        config = {**self.cluster.librdkafka, **self._settings}
        try:
            self.consumer = GroupConsumer(config, self.group, self.client_name, self.read, self)
        except MetrolineError as error:
            await self.crash(error)
            return
        try:
            await self.prepare()
            await self._take()
        except MetrolineError as error:
            await self.crash(error)
        finally:
            await self._finish(FINISH_SECONDS)
            await self.consumer.close(leave=await may_leave(self.cluster, self.consumer))

    async def _take(self) -> None:
        while not self.should_stop:
            await self.may_take()
            await self.consumer.wait(self.wait_seconds())
            async with self._turn:  # what is taken now is handled before its partitions are released
                ends, self._ends = self._ends, {}  # first: what came before them is taken now
                fetched = self.held_back() | self.consumer.take()
                if fetched:
                    self.looked(fetched)
                    await self._pass_on(fetched)
                if ends:
                    await self._pass_ends(ends)

    @Service.task
    async def _commit_regularly(self) -> None:
        async for _ in regularly(self, COMMIT_SECONDS):
            self.commit_confirmed()

    async def _pass_on(self, fetched: Fetched) -> None:
        own = self._readable({tp: messages for tp, messages in fetched.items() if tp in self.progress})
        filled = [partition for partition, messages in own.items() if messages]
        await self._answered(lambda: self._ask_where_to_begin(filled))
        for partition, messages in own.items():
            await self.progress[partition].wait_for_room(MAX_OPEN_BATCHES)
            if messages:
                self._note_gaps(partition, messages)
                self._reached[partition] = (messages[-1].offset() or 0) + 1
        for partition, (next_offset, confirmation) in (await self.handle(own)).items():
            self.progress[partition].add(next_offset, confirmation)

    def reached_end(self, partition: TopicPartition, offset: int) -> None:
        """Note that a partition has no message before this offset but those that were handed over."""
        self._ends[partition] = offset

    async def _pass_ends(self, ends: Offsets) -> None:
        """Have offsets committed behind which there is no message, such as that of the marker of a transaction."""
        own = [tp for tp in ends if tp in self.progress and not self.keeps(tp) and tp not in self._left]
        await self._answered(lambda: self._ask_where_to_begin(own))
        for partition in own:
            reached, end = self._reached[partition], ends[partition]
            if 0 <= reached < end:
                self.progress[partition].add(end, self._gaps.note(partition, reached, end))
                self._reached[partition] = end

    def keeps(self, partition: TopicPartition) -> bool:
        """Return whether messages of a partition are kept unhandled, so that no offset behind them may be committed."""
        return False

    def _readable(self, fetched: Fetched) -> Fetched:
        """Return what this version can read. Partitions with a message that it cannot are not read any further."""
        readable: Fetched = {}
        for partition, messages in fetched.items():
            old = list(self._left.readable(partition, messages))
            if old or not messages:
                readable[partition] = old
            if len(old) < len(messages):
                self.consumer.hold([partition])
        return readable

    def _note_gaps(self, partition: TopicPartition, messages: Sequence[Message]) -> None:
        """Have nothing committed beyond a gap before it is known what was in it."""
        for first, end in gaps_in(self._reached[partition], messages):
            confirmation = self._gaps.note(partition, first, end)
            if not self.keeps(partition):
                self.progress[partition].add(messages[0].offset() or 0, confirmation)

    async def assigned(self, partitions: Collection[TopicPartition]) -> None:
        """Begin to track partitions that were assigned to this worker."""
        async with self._turn:
            await self._answered(lambda: self.begin(partitions))
            for partition in partitions:
                self.progress[partition] = Progress()

    async def revoked(self, partitions: Collection[TopicPartition], deadline: float) -> None:
        """Wait for open batches and commit them until the deadline. Later, other members own the partitions."""
        async with self._turn:
            if (seconds := deadline - time.monotonic()) > 0:
                await self._finish(seconds)
            self.forget(partitions)

    def forget(self, partitions: Collection[TopicPartition]) -> None:
        """Stop tracking partitions that other members own."""
        self._gaps.forget(partitions)
        self._left.forget(partitions)
        for partition in partitions:
            self.progress.pop(partition, None)
            self._reached.pop(partition, None)
            self._ends.pop(partition, None)

    async def _finish(self, seconds: float) -> None:
        open_batches = [future for progress in self.progress.values() for _, future in progress.batches]
        if open_batches:
            await asyncio.wait(open_batches, timeout=seconds)
        self.commit_confirmed()

    def commit_confirmed(self) -> None:
        """Commit, for each assigned partition, the offset up to which everything is confirmed."""
        offsets = {
            partition: offset
            for partition, progress in self.progress.items()
            if (offset := progress.to_commit()) is not None
        }
        if offsets:
            for partition, offset in offsets.items():
                self.progress[partition].committed = offset
            self.consumer.commit(self.to_commit(offsets), self.notes(offsets))

    def to_commit(self, offsets: Offsets) -> Offsets:
        """Return what to commit when these offsets are reached."""
        return offsets

    def notes(self, offsets: Offsets) -> Notes:
        """Return the notes to commit beside these offsets."""
        return {}

    def committed(self, offsets: Offsets, error: KafkaError | None) -> None:
        """Note the answer to a commit. What could not be committed is tried again, unless others own the partitions."""
        if error is None:
            return
        names = ", ".join(names_of(offsets))
        if error.code() in LOST:
            self.log.info("offsets of %s were not committed: %s", names, error.str())
            return
        self.log.warning("offsets of %s could not be committed, trying again: %s", names, error.str())
        for partition, offset in offsets.items():
            progress = self.progress.get(partition)
            if progress is not None and progress.committed == offset:
                progress.committed = None
