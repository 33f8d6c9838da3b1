"""The thread in which a member of a consumer group runs.

confluent-kafka lets one thread at a time into a consumer, and a thread that polls in a loop keeps all others waiting.
So this thread makes every call of the client, and others post what they want from it.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Collection, Coroutine, Mapping
from concurrent.futures import Future
from concurrent.futures import TimeoutError as NotYet
from contextlib import suppress
from functools import partial
from queue import Empty, SimpleQueue
from threading import Lock, Thread
from typing import Any

from aiokafka import TopicPartition
from confluent_kafka import Consumer, KafkaError, KafkaException, Message
from confluent_kafka import TopicPartition as Position

from metroline.agents.kafka.cluster import ClusterError
from metroline.agents.kafka.complaints import Complaints, described, is_refusal, library_log
from metroline.agents.kafka.consumer import ENDS_SECONDS, ends_of
from metroline.agents.kafka.group_owner import Notes, Offsets, Owner
from metroline.agents.kafka.positions import oldest_of, partition_of, partitions_at, positions_of

POLL_SECONDS = 0.1
"""Time that the thread waits for a message. What others post meanwhile waits as long."""

MAX_MESSAGES = 2_000
"""Maximum number of messages that are taken at once. While they are handled, no others begin."""

PAUSE_SECONDS = 0.5
"""Time without a poll after which partitions are paused, so that the thread can poll though no messages are wanted."""

FINISH_SECONDS = 2.0
"""Time that the owner has to finish its work on partitions that are revoked. All members of the group wait for it."""

MARGIN_SECONDS = 0.5
"""Time that the thread waits longer than that, for an owner that finished in time."""

Command = Callable[[Consumer], object]

log = logging.getLogger(__name__)


class GroupThread(Thread):
    """Polls a client until it is closed. Create it on the event loop of its owner."""

    def __init__(self, config: Mapping[str, Any], name: str, topics: Collection[str], owner: Owner) -> None:
        """Take configuration of librdkafka; raise `ClusterError` if it cannot be used."""
        super().__init__(name=name, daemon=True)
        self._topics = list(topics)
        self._owner = owner
        self._complaints = Complaints(name)
        callbacks = {**self._complaints.config, "error_cb": self._on_error, "on_commit": self._on_commit}
        try:
            self._client: Consumer | None = Consumer({**config, **callbacks}, logger=library_log)
        except KafkaException as error:
            raise ClusterError(f"{name} cannot read: {error.args[0].str()}") from error
        self._loop = asyncio.get_running_loop()
        self.arrived = asyncio.Event()
        """Set on the event loop when messages arrive."""
        self.is_wanted = False
        """Messages are fetched while this is True. The thread resets it when it has some."""
        self.is_closed = False
        self.is_joined = False
        """True once partitions, possibly none, were assigned and prepared for, until they are revoked."""
        self.is_assigned = False
        """True once partitions, possibly none, were assigned, until they are revoked."""
        self.changes = 0
        """Number of times that partitions were assigned or revoked."""
        self.sends_leave = True
        """True if the group is told when the member leaves."""
        self._posted: SimpleQueue[Command | None] = SimpleQueue()
        self._lock = Lock()
        self._fetched: list[Message] = []
        self._assigned: set[TopicPartition] = set()
        self._paused: set[TopicPartition] = set()
        self._held: set[TopicPartition] = set()
        """Partitions that stay paused until they are released."""
        self._are_all_paused = False
        self._revoked: set[TopicPartition] = set()
        """Partitions that were revoked during the present poll."""
        self._next: dict[TopicPartition, int] = {}
        """The offset after the last message of each partition that was fetched."""
        self._ends: dict[TopicPartition, int] = {}
        """The ends of partitions that the present poll reached, if there is more than messages before them."""
        self.ends: Mapping[TopicPartition, int] = {}
        """The offset after the last message of each assigned partition, as the brokers told lately."""
        self._looked_at = 0.0
        self._open_commits = 0
        self._refusal: KafkaError | None = None
        """An error after which nothing is read any more."""

    # Called by others

    def post(self, command: Command | None) -> None:
        """Have the thread call a function with its client soon; None only wakes it."""
        self._posted.put(command)

    @property
    def has_messages(self) -> bool:
        return bool(self._fetched)

    @property
    def oldest(self) -> float | None:
        """Timestamp of the oldest message that is there, in seconds since the epoch; None if there is none."""
        with self._lock:
            return oldest_of(self._fetched)

    def take(self) -> list[Message]:
        """Return the messages that are there. Messages of partitions that were revoked meanwhile are not."""
        with self._lock:
            messages, self._fetched = self._fetched, []
        return messages

    # Posted to the thread

    def pause(self, partitions: Collection[TopicPartition], client: Consumer) -> None:
        known = self._assigned.intersection(partitions)
        self._paused |= known
        client.pause(positions_of(known))

    def resume(self, partitions: Collection[TopicPartition], client: Consumer) -> None:
        wanted = self._assigned.intersection(partitions) - self._held
        self._paused -= wanted
        if not self._are_all_paused:
            client.resume(positions_of(wanted))

    def hold(self, partitions: Collection[TopicPartition], client: Consumer) -> None:
        self._held.update(partitions)
        self.pause(partitions, client)

    def release(self, partitions: Collection[TopicPartition], client: Consumer) -> None:
        self._held.difference_update(partitions)
        self.resume(partitions, client)

    def read_again(self, offsets: Offsets, client: Consumer) -> None:
        own = {tp: offset for tp, offset in offsets.items() if tp in self._assigned and tp not in self._held}
        with self._lock:
            self._fetched = [message for message in self._fetched if partition_of(message) not in own]
        self.resume(own, client)
        for tp, offset in own.items():
            try:
                client.seek(Position(tp.topic, tp.partition, offset))
            except KafkaException as error:
                log.warning("%s cannot go to offset %d of %s: %s", self.name, offset, tp, error.args[0].str())

    def commit(self, offsets: Offsets, notes: Notes, client: Consumer) -> None:
        positions = [Position(tp.topic, tp.partition, offset, notes.get(tp, "")) for tp, offset in offsets.items()]
        try:
            client.commit(offsets=positions)
            self._open_commits += 1
        except KafkaException as error:
            self._call(partial(self._owner.committed, offsets, error.args[0]))

    # The thread

    def run(self) -> None:
        """Be a member of the group until `is_closed`."""
        client, self._client = self._client, None
        assert client is not None
        try:
            client.subscribe(self._topics, on_assign=self._on_assign, on_revoke=self._on_revoke, on_lost=self._on_lost)
            while not self.is_closed:
                self._turn(client)
        except Exception as error:  # noqa: BLE001 - whatever it is, nothing is read any more
            self._start(self._owner.crash(error))
        self._run_posted(client)
        if self.sends_leave:
            client.close()
        else:
            self._await_commits(client)

    def _await_commits(self, client: Consumer) -> None:
        """Wait for the answers to the last commits. A client that is discarded without `close` sends no LeaveGroup."""
        deadline = time.monotonic() + MARGIN_SECONDS
        while self._open_commits and time.monotonic() < deadline:
            client.poll(POLL_SECONDS)

    def _turn(self, client: Consumer) -> None:
        """Fetch messages if they are wanted. Otherwise wait until they are, but not for long without a poll."""
        self._run_posted(client)
        if self.is_wanted:
            self._pause_all(client, False)
            self._poll(client)
        elif self._are_all_paused:
            self._poll(client)
        elif not self._run_posted(client, PAUSE_SECONDS):
            self._pause_all(client, True)

    def _poll(self, client: Consumer) -> None:
        """Take messages, if there are any. Rebalances and answers to commits are handled meanwhile."""
        self._revoked.clear()
        self._ends.clear()
        first = client.poll(POLL_SECONDS)
        if time.monotonic() - self._looked_at >= ENDS_SECONDS:
            self._looked_at = time.monotonic()
            self.ends = ends_of(client)
        polled = [] if first is None else [first, *client.consume(MAX_MESSAGES - 1, 0)]
        messages = [message for message in polled if self._is_good(message)]
        if self._refusal is not None:
            topics = ", ".join(self._topics)
            raise ClusterError(f"{self.name} cannot read {topics} any more: {described(self._refusal)}")
        if messages:
            with self._lock:
                self._fetched += messages
            self.is_wanted = False
            self._call(self.arrived.set)
        for partition, offset in self._ends.items():  # known to the owner after the messages before them
            self._call(partial(self._owner.reached_end, partition, offset))

    def _is_good(self, message: Message) -> bool:
        error = message.error()
        if error is None:
            self._next[partition_of(message)] = (message.offset() or 0) + 1
            return not self._revoked or partition_of(message) not in self._revoked
        if error.code() == KafkaError._PARTITION_EOF:
            self._note_end(partition_of(message), message.offset() or 0)
        else:
            self._on_error(error)
        return False

    def _note_end(self, partition: TopicPartition, offset: int) -> None:
        if self._next.get(partition) != offset and partition not in self._revoked:
            self._next[partition] = offset
            self._ends[partition] = offset

    def _on_error(self, error: KafkaError) -> None:
        if is_refusal(error):
            self._refusal = error
        else:
            self._complaints.note(error)

    def _run_posted(self, client: Consumer, seconds: float = 0.0) -> bool:
        """Do what was posted; wait up to `seconds` for the first command. Return whether there was any."""
        count = 0
        with suppress(Empty):
            while True:
                command = self._posted.get(timeout=seconds) if seconds and not count else self._posted.get_nowait()
                count += 1
                if command is not None:
                    command(client)
        return count > 0

    def _pause_all(self, client: Consumer, are_all_paused: bool) -> None:
        if are_all_paused != self._are_all_paused:
            self._are_all_paused = are_all_paused
            (client.pause if are_all_paused else client.resume)(positions_of(self._assigned - self._paused))

    # Called by librdkafka in the thread, while it polls or closes

    def _on_assign(self, client: Consumer, positions: list[Position]) -> None:
        partitions = partitions_at(positions)
        self.is_assigned = True
        client.assign(positions)
        client.pause(positions)
        self._assigned |= partitions
        self._paused |= partitions
        self.changes += 1
        self._start(self._take_over(partitions, self.changes))

    async def _take_over(self, partitions: Collection[TopicPartition], change: int) -> None:
        try:
            await self._owner.assigned(partitions)
        except Exception as error:  # noqa: BLE001 - otherwise nothing would be read, and nobody would know
            if not self.is_closed:
                await self._owner.crash(error)
        else:
            if change == self.changes:  # otherwise they were revoked meanwhile
                self.is_joined = True
                self.post(partial(self.resume, partitions))

    def _on_revoke(self, client: Consumer, positions: list[Position]) -> None:
        self._release(client, partitions_at(positions), FINISH_SECONDS)

    def _on_lost(self, client: Consumer, positions: list[Position]) -> None:
        log.warning("%s lost its partitions, since its group did not hear from it for too long", self.name)
        self._release(client, partitions_at(positions), 0.0)

    def _release(self, client: Consumer, partitions: set[TopicPartition], seconds: float) -> None:
        """Discard fetched messages, let the owner finish its work for `seconds`, and do what it posts meanwhile."""
        self.is_joined = self.is_assigned = False
        self.changes += 1
        self._revoked |= partitions
        self._assigned -= partitions
        self._paused -= partitions
        self._held -= partitions
        for partition in partitions:
            self._next.pop(partition, None)
        with self._lock:
            self._fetched = [message for message in self._fetched if partition_of(message) not in partitions]
        if self.is_closed:
            return
        deadline = time.monotonic() + seconds
        finished = self._start(self._owner.revoked(partitions, deadline))
        while finished is not None and not finished.done() and time.monotonic() < deadline + MARGIN_SECONDS:
            self._run_posted(client)  # the owner may have a question
            with suppress(NotYet):
                finished.result(0.01)
        self._run_posted(client)  # sent before the partitions are released: librdkafka waits for open commits

    def _on_commit(self, error: KafkaError | None, positions: list[Position]) -> None:
        self._open_commits -= 1
        for at in positions:
            offsets = {TopicPartition(at.topic, at.partition): at.offset}
            self._call(partial(self._owner.committed, offsets, at.error or error))

    def _start(self, work: Coroutine[Any, Any, None]) -> Future[None] | None:
        """Start a coroutine on the event loop; return None if the loop is closed."""
        try:
            return asyncio.run_coroutine_threadsafe(work, self._loop)
        except RuntimeError:
            work.close()
            return None

    def _call(self, function: Callable[[], object]) -> None:
        with suppress(RuntimeError):  # the event loop was closed
            self._loop.call_soon_threadsafe(function)
