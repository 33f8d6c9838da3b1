"""Faust's transport, with librdkafka as the reader.

Faust's consumer keeps what Faust needs of it: the membership in the group, Faust's own assignor, which places tables,
and the commits. Its data come through a consumer of librdkafka, which is told its partitions: aiokafka encodes and
decodes every assigned partition in Python with each fetch. An agent is handed all messages that are there as one event,
often of several partitions of its topic, so that the cost of an event is shared.
"""

from __future__ import annotations

import asyncio
import gc
import time
from asyncio import AbstractEventLoop
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from typing import Any, ClassVar, cast

from aiokafka import TopicPartition
from confluent_kafka import Message as Fetched
from faust.transport.drivers import aiokafka as driver
from faust.types import TP, ConsumerMessage, Message
from faust.types.transports import ConsumerT

from metroline.agents.kafka.absence_watch import Membership
from metroline.agents.kafka.cluster import METADATA_SECONDS, Cluster
from metroline.agents.kafka.consumer import KafkaConsumer
from metroline.agents.kafka.fetch_buffers import MAX_BATCH_BYTES, FetchBuffers, MessageBatch
from metroline.agents.kafka.gaps import Gaps, gaps_in
from metroline.agents.kafka.membership_thread import MembershipThread
from metroline.agents.kafka.stopped_partitions import StoppedPartitions

MAX_TOPIC_BYTES = 8 * 1024 * 1024
"""Bytes that a worker holds of one topic before it stops fetching it. One consumer serves all agents.

They count until they are acknowledged. A topic that is fetched again may have to wait for one fetch, so the bound
leaves room for what a fast line has open meanwhile.
"""

PREFETCH_KBYTES = 8 * 1024
"""KiB that librdkafka may hold of all topics."""

FULL_SECONDS = 0.02
"""Time after which librdkafka looks again whether it may fetch, if it held `PREFETCH_KBYTES`."""

DRAIN_SECONDS = 3.0
"""Time that open messages have to be acknowledged when partitions are revoked or the worker stops."""


class Consumer(driver.Consumer):
    """Faust's consumer, which reads from librdkafka."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.buffers = FetchBuffers(MAX_TOPIC_BYTES)
        self._reader: KafkaConsumer | None = None
        self._changing = asyncio.Lock()
        self._fetching: set[TP] = set()
        """The partitions that are assigned to the reader."""
        self._acknowledged: dict[TP, int] = {}
        """The next offset to commit of each partition, unless it is committed already."""

    # What is read

    async def _getmany(self, active_partitions: set[TP] | None, timeout: float) -> Any:
        """Fetch until one of the active partitions has messages, or for `timeout` seconds."""
        active = active_partitions or set()
        self._line_thread.note_activity()
        await self._change_fetching(self._wanted)
        if self._fetching and not self.buffers.ready(active):
            self._store(await self._librdkafka().take(timeout))
        elif not self.buffers.ready(active):
            await self.sleep(FULL_SECONDS)
        return {}

    def _get_active_partitions(self) -> set[TP]:
        """Return the partitions that are not paused, without Faust's check of each of them at every look."""
        active = self._active_partitions
        return self._set_active_tps(self.assignment()) if active is None else active

    def _wanted(self) -> set[TP]:
        return {tp for tp in self.buffers.open_among(self._get_active_partitions()) if tp not in self._left}

    async def getmany(self, timeout: float) -> AsyncIterator[tuple[TP, Message]]:
        """Yield batches of the topics of agents, and single messages of changelogs."""
        _, active = await self._wait_next_records(timeout)
        generation = self.app.consumer_generation_id
        for together in self._together(self.buffers.ready(active or ())):
            tp = together[0]
            while self.flow_active and not self.should_stop and generation == self.app.consumer_generation_id:
                message = self._next_batches(together) if self._is_acknowledged(tp) else self._next_message(tp)
                if message is None:
                    break
                yield tp, message

    def _is_acknowledged(self, tp: TP) -> bool:
        return self.app.topics.acks_enabled_for(tp.topic)

    def _together(self, ready: Iterable[TP]) -> Iterable[list[TP]]:
        """Return the partitions that an agent is handed at once, and each other one alone."""
        joins = cast(Transport, self.transport).joins
        groups: dict[str | TP, list[TP]] = {}
        for tp in ready:
            groups.setdefault(tp.topic if joins(tp.topic) else tp, []).append(tp)
        return groups.values()

    async def _drain_messages(self, fetcher: Any) -> None:
        """Hand messages to the agents and tables until the worker stops."""
        try:
            while not (self.should_stop or fetcher.should_stop):
                async for _, message in self.getmany(timeout=1.0):
                    await self._pass_on(message)
                    for one, offset in _last_offsets(message):
                        self._read_offset[one] = offset
                await asyncio.sleep(0)  # the agents' turn
        except asyncio.CancelledError:
            if not self.app.should_stop:  # Faust would take the end of a worker for a crash of its fetcher
                raise

    async def _pass_on(self, message: Message) -> None:
        """Hand a message over, unless a rebalance begins: the message then comes again."""
        if self.app.flow_control.is_active():
            await self.callback(message)
        else:
            await self.wait_first(self.callback(message), self.suspend_flow.wait())

    def _next_batches(self, together: Iterable[TP]) -> Message | None:
        transport = cast(Transport, self.transport)
        batches: list[MessageBatch] = []
        size = 0
        for tp in together:
            batch = self.buffers.take_batch(tp, transport.batch_sizes.get(tp.topic))
            if batch is not None:
                batches.append(batch)
                size += batch.size
            if size >= MAX_BATCH_BYTES:
                break
        if not batches:
            return None
        first, topic = batches[0], tp.topic
        transport.handed(topic)
        oldest = min(batch.timestamp for batch in batches)
        return self._as_message(TP(topic, first.partition), first.offsets[-1], oldest, None, tuple(batches), size)

    def _next_message(self, tp: TP) -> Message | None:
        one = self.buffers.take_one(tp)
        if one is None:
            return None
        return self._as_message(tp, one.offset() or 0, one.timestamp()[1] / 1_000, one.key(), one.value(), len(one))

    def _as_message(
        self, tp: TP, offset: int, timestamp: float, key: bytes | None, value: Any, size: int
    ) -> ConsumerMessage:
        return ConsumerMessage(
            topic=tp.topic,
            partition=tp.partition,
            offset=offset,
            timestamp=timestamp,
            timestamp_type=0,
            headers=[],
            key=key,
            value=value,
            checksum=None,
            serialized_key_size=len(key or b""),
            serialized_value_size=size,
            tp=tp,
            generation_id=self.app.consumer_generation_id,
        )

    def _librdkafka(self) -> KafkaConsumer:
        if self._reader is None:
            self._reader = cast(Transport, self.transport).new_reader()
        return self._reader

    async def _change_fetching(self, choose: Callable[[], set[TP]]) -> None:
        """Fetch only from the partitions that `choose` returns. It is called once no other change is being made."""
        async with self._changing:
            wanted = choose()
            if wanted == self._fetching:
                return
            reader = self._librdkafka()
            self._store(await reader.park())
            if self._fetching - wanted:
                self._store(await reader.unassign(self._fetching - wanted))
            if wanted - self._fetching:
                self._store(await reader.assign({tp: self.buffers.next_offset(tp) for tp in wanted - self._fetching}))
            self._fetching = wanted

    async def _stop_fetching(self, partitions: Iterable[TP]) -> None:
        await self._change_fetching(lambda: self._fetching.difference(partitions))

    def _store(self, fetched: Mapping[TopicPartition, list[Fetched]]) -> None:
        for partition, messages in fetched.items():
            tp = TP(partition.topic, partition.partition)
            if not self._is_acknowledged(tp):
                self.buffers.add(tp, messages)
            elif readable := self._left.readable(tp, messages):
                self._note_gaps(tp, readable)
                self.buffers.add(tp, readable)

    def _note_gaps(self, tp: TP, messages: Sequence[Fetched]) -> None:
        """Have nothing committed before it is known what was in the gaps between offsets."""
        for first, end in gaps_in(self.buffers.next_offset(tp), messages):
            self._gaps.note(tp, first, end)

    @property
    def _left(self) -> StoppedPartitions:
        return cast(Transport, self.transport).stopped

    @property
    def _gaps(self) -> Gaps:
        return cast(Transport, self.transport).gaps

    def resume_partitions(self, tps: Iterable[TP]) -> None:
        """Read from partitions from now on."""
        super().resume_partitions(tps)
        self._wake()

    def _wake(self) -> None:
        if self._reader is not None:
            self._reader.wake()

    # Where it is read from

    async def seek_to_committed(self) -> Mapping[TP, int]:
        """Go to the committed offset of each partition, or to the beginning of one of an agent that has none.

        Changelogs have none: recovery knows where to go on in them.
        """
        assigned = self.assignment()
        committed = await self._line_thread.committed(assigned)
        changelogs = self.app.tables.changelog_topics
        await self._seek_all({tp: offset for tp, offset in committed.items() if offset})
        fresh = [tp for tp in assigned if not committed.get(tp) and tp.topic not in changelogs]
        await self._stop_fetching(fresh)
        self.buffers.clear(fresh)
        return committed

    async def seek_wait(self, partitions: Mapping[TP, int | None]) -> None:
        """Go to these offsets, or to the beginning of a partition without one.

        Faust has none of a partition that was assigned while a recovery began: it begins the recovery anew then.
        """
        await self._seek_all({tp: offset or 0 for tp, offset in partitions.items()})
        for tp, offset in partitions.items():
            self._read_offset[tp] = offset or None

    async def _seek(self, partition: TP, offset: int) -> None:
        await self._seek_all({partition: offset})

    async def _seek_all(self, offsets: Mapping[TP, int]) -> None:
        await self._stop_fetching(offsets)
        for tp, offset in offsets.items():
            self.buffers.seek(tp, offset)

    async def position(self, tp: TP) -> int | None:
        """Return the offset after the last message that was fetched."""
        offset = self.buffers.next_offset(tp)
        return offset if offset >= 0 else None

    def highwater(self, tp: TP) -> int:
        """Return the offset after the last message that was fetched, for Faust's monitor; 0 before the first one."""
        return max(0, self.buffers.next_offset(tp))

    async def refresh_metadata(self) -> None:
        """Notice partitions that topics have gained."""
        await self._line_thread.refresh_metadata()

    async def next_to_read(self) -> dict[TopicPartition, int]:
        """Return the next offset of the agents' partitions that nothing keeps from being read."""
        agents = [tp for tp in self.assignment() if self._is_acknowledged(tp) and tp not in self._left]
        return {tp: offset for tp in agents if (offset := self.buffers.next_to_hand_over(tp)) is not None}

    async def read_again(self, offsets: Mapping[TopicPartition, int]) -> None:
        """Go to these offsets, if they are still those to be read next."""
        still = await self.next_to_read()
        if again := {TP(*tp): offset for tp, offset in offsets.items() if still.get(tp) == offset}:
            await self._seek_all(again)
            self._wake()

    async def perform_seek(self) -> None:
        """Stop the flow of messages before the seek; Faust resumes it right afterwards."""
        self.stop_flow()
        await super().perform_seek()
        cast(Transport, self.transport).assigned({tp: self._read_offset.get(tp) or 0 for tp in self.assignment()})

    # What is acknowledged

    def ack(self, message: Message) -> bool:
        """Acknowledge batches. Those before them in their partitions were acknowledged before (`AckTracker`)."""
        if message.acked:
            return False
        message.acked = True
        self._unacked_messages.discard(message)
        for tp, offset in _last_offsets(message):
            if self.buffers.acknowledge(tp, offset):
                self._wake()
            if tp in self._committed_offset or tp in self.assignment():  # which Faust collects anew each time
                self._acknowledged[tp] = offset + 1
        if self._waiting_for_ack is not None and not self._waiting_for_ack.done():
            self._waiting_for_ack.set_result(None)
        return True

    async def _commit(self, offsets: Mapping[TP, int]) -> bool:
        """Commit offsets; those that could not be committed are tried again with the next commit."""
        is_done = await super()._commit(offsets)
        if not is_done:
            for tp in self.assignment().intersection(offsets):
                self._acknowledged.setdefault(tp, offsets[tp])
        return bool(is_done)

    def _should_commit(self, tp: TP, offset: int) -> bool:
        return True  # what is acknowledged is in order, and is forgotten once it is committed

    def _filter_tps_with_pending_acks(self, topics: Any = None) -> Any:
        acknowledged = [tp for tp in self._acknowledged if not self._gaps.is_open(tp)]
        return [tp for tp in acknowledged if topics is None or tp in topics or tp.topic in topics]

    def _new_offset(self, tp: TP) -> int | None:
        return self._acknowledged.pop(tp, None)

    # Rebalances

    async def on_partitions_revoked(self, revoked: set[TP]) -> None:
        """Commit acknowledged messages first. Faust discards them, and each rebalance would repeat seconds of work."""
        if not self.app.should_stop:
            await self.commit()
        await super().on_partitions_revoked(revoked)
        await self._stop_fetching(revoked)
        self.buffers.clear(revoked)
        self._gaps.forget(revoked)
        self._left.forget(revoked)
        for tp in revoked:
            self._acknowledged.pop(tp, None)
        cast(Transport, self.transport).reset()
        self._unacked_messages.clear()  # they are discarded, and nobody acknowledges them any more

    async def wait_empty(self) -> None:
        """Wait up to `DRAIN_SECONDS` for open messages. The others come again, here or on another worker.

        Faust's own method cannot be given a time: it takes a cancellation for the end of one of its waits.
        """
        drain = cast(Transport, self.transport).drain
        deadline = time.monotonic() + DRAIN_SECONDS
        drain(True)
        try:
            while self._unacked_messages and not self.should_stop:
                gc.collect()  # messages that nobody holds any more are not open
                await self.commit()
                seconds = min(1.0, deadline - time.monotonic())
                if seconds <= 0:
                    self.log.info("%d messages are left open and come again", len(self._unacked_messages))
                    break
                acknowledged = self._waiting_for_ack = asyncio.get_running_loop().create_future()
                await asyncio.wait([acknowledged], timeout=seconds)
                self._clean_unacked_messages()
            await cast(Transport, self.transport).finish(max(0.0, deadline - time.monotonic()))
            await self.commit_and_end_transactions()
        finally:
            drain(False)

    async def on_stop(self) -> None:
        """Close the reader last: acknowledgements may still arrive while Faust waits for open messages."""
        try:
            await super().on_stop()
        finally:
            if self._reader is not None:
                await self._reader.close()

    def waiting(self) -> dict[str, int]:
        """Return the number of messages that are not acknowledged, by topic, as far as it is known."""
        return self.buffers.waiting({} if self._reader is None else self._reader.ends)

    async def is_member(self) -> bool:
        """Ask the group's coordinator whether this worker still owns its partitions."""
        return await self._line_thread.is_member()

    def verify_event_path(self, now: float, tp: TP) -> None:
        """Do nothing. Faust looks here at aiokafka's fetcher for partitions that stand still; it does not fetch."""

    def verify_recovery_event_path(self, now: float, tp: TP) -> None:
        """Do nothing, as in `verify_event_path`."""

    @property
    def is_joined(self) -> bool:
        """True while the coordinator of the group is known and the group has no rebalance under way."""
        return self._line_thread.is_joined

    @property
    def membership(self) -> Membership:
        """The membership in the group. It gets on as rebalances begin and as messages of tables are read."""
        app = self.app
        progress = app.rebalancing_count, app.consumer_generation_id, self.buffers.reached
        return Membership(app.conf.id, self.is_joined and not app.rebalancing, progress, self._line_thread.protocols)

    @property
    def membership_loop(self) -> AbstractEventLoop:
        """The event loop of the thread that keeps the membership."""
        return self._line_thread.thread_loop

    @property
    def _line_thread(self) -> MembershipThread:
        return cast(MembershipThread, self._thread)

    def _new_consumer_thread(self) -> MembershipThread:
        return MembershipThread(self, loop=self.loop, beacon=self.beacon)


def _last_offsets(message: Message) -> list[tuple[TP, int]]:
    """Return the partitions of a message, or of the batches that stand for one, each with the last offset."""
    if isinstance(message.value, tuple):
        return [(TP(message.topic, batch.partition), batch.offsets[-1]) for batch in message.value]
    return [(message.tp, message.offset)]


class Transport(driver.Transport):
    """Faust's transport with our consumer. `fetch_wait` is in seconds.

    `handed` is called with the topic of the messages that an agent is handed at once. `joins` returns whether these may
    be of several partitions of a topic: they are acknowledged together. `drain` is called with True when open
    messages should be finished soon, and with False afterwards. `finish` waits until what agents keep in memory is
    written, but at most for some seconds. `reset` is called when partitions, with all open
    messages, were revoked, and `assigned` with the offsets to read next when partitions were assigned. Gaps between the
    offsets of agents' messages are noted in `gaps`, partitions whose messages only a newer version reads in `stopped`.
    """

    Consumer: ClassVar[type[ConsumerT]] = Consumer

    def __init__(
        self,
        url: Any,
        app: Any,
        loop: AbstractEventLoop | None = None,
        *,
        cluster: Cluster,
        fetch_wait: float,
        handed: Callable[[str], None],
        joins: Callable[[str], bool],
        drain: Callable[[bool], None],
        finish: Callable[[float], Awaitable[None]],
        reset: Callable[[], None],
        assigned: Callable[[Mapping[TP, int]], None],
        gaps: Gaps,
        stopped: StoppedPartitions,
    ) -> None:
        super().__init__(url, app, loop)
        self.cluster = cluster
        self.fetch_wait = fetch_wait
        self.handed = handed
        self.joins = joins
        self.drain = drain
        self.finish = finish
        self.reset = reset
        self.assigned = assigned
        self.gaps = gaps
        self.stopped = stopped
        self.batch_sizes: dict[str, int] = {}
        """Maximum number of messages that an agent is handed at once, by topic. Default: no limit."""

    async def is_member(self) -> bool:
        """Ask the group's coordinator whether this worker still owns its partitions."""
        return await cast(Consumer, self.app.consumer).is_member()

    def new_reader(self) -> KafkaConsumer:
        """Return the consumer that reads the topics of agents and the changelogs of tables."""
        config = {
            "fetch.wait.max.ms": int(self.fetch_wait * 1000),
            "fetch.message.max.bytes": self.app.conf.consumer_max_fetch_size,
            "queued.max.messages.kbytes": PREFETCH_KBYTES,
            "fetch.queue.backoff.ms": int(FULL_SECONDS * 1000),
            "check.crcs": True,
            "topic.metadata.refresh.interval.ms": int(METADATA_SECONDS * 1000),
            "group.id": self.app.conf.id,  # it does not join, but looks the group up, for which it needs a right
        }
        return KafkaConsumer(self.cluster.librdkafka | config, "bus")
