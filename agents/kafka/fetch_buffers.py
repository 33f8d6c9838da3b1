"""Holds what was fetched until it is handed to agents, and bounds what a worker holds of each topic."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterable, Iterator, Mapping

from aiokafka import TopicPartition
from confluent_kafka import OFFSET_BEGINNING, Message
from faust.types import TP
from msgspec import Struct

MIN_MESSAGE_BYTES = 1_024
"""Bytes that a message counts for at least: it takes more memory than its value."""

MAX_BATCH_BYTES = 1024 * 1024
"""Bytes of a batch; a single larger message is a batch of its own."""


class MessageBatch(Struct, frozen=True):
    """Consecutive messages of one partition."""

    partition: int
    offsets: tuple[int, ...]
    values: tuple[bytes, ...]
    timestamp: float
    """Time at which the first message was written, in seconds since the epoch."""
    size: int
    """Bytes for which the messages count."""


Batches = tuple[MessageBatch, ...]
"""Messages of a topic that an agent is handed at once, of one or several partitions."""


class FetchBuffers:
    """The fetched messages of each partition, and the bytes of each topic that are not acknowledged yet.

    A topic is open while less than `limit` bytes of it are held. Once it is full, it stays closed until half of these
    bytes are given back, so that a stop that is slow is not asked after each of its messages.
    """

    def __init__(self, limit: int) -> None:
        """Take the limit of each topic, in bytes."""
        self.limit = limit
        self._ready: dict[TP, deque[Message]] = {}
        self._next: dict[TP, int] = {}
        self._held: Counter[str] = Counter()
        self._delivered: dict[TP, dict[int, tuple[int, float, int]]] = {}
        """The bytes, the time and the number of messages of each batch that was handed over, by its last offset."""
        self._full: set[str] = set()

    @property
    def reached(self) -> int:
        """The sum of the offsets up to which partitions were fetched: it changes as messages arrive."""
        return sum(self._next.values())

    def next_offset(self, tp: TP) -> int:
        """Return the offset to fetch from: the one after the last message that was fetched."""
        return self._next.get(tp, OFFSET_BEGINNING)

    def seek(self, tp: TP, offset: int) -> None:
        """Discard what was fetched of a partition, and fetch from this offset on."""
        self._discard(tp)
        self._next[tp] = offset

    def next_to_hand_over(self, tp: TP) -> int | None:
        """Return the offset of the next message for an agent, fetched or not; None while the agent has others of it.

        None as well for a partition of a full topic: others of the topic may hold the bytes.
        """
        if self._delivered.get(tp) or tp.topic in self._full:
            return None
        ready = self._ready.get(tp)
        return (ready[0].offset() or 0) if ready else self.next_offset(tp)

    def add(self, tp: TP, messages: Iterable[Message]) -> None:
        """Add messages of a partition that follow those fetched before."""
        ready = self._ready.setdefault(tp, deque())
        for message in messages:
            ready.append(message)
            self._held[tp.topic] += _size(message)
        if ready:
            self._next[tp] = (ready[-1].offset() or 0) + 1
        if self._held[tp.topic] >= self.limit:
            self._full.add(tp.topic)

    def ready(self, partitions: Iterable[TP]) -> list[TP]:
        """Return those of the partitions that have messages."""
        return [tp for tp in partitions if self._ready.get(tp)]

    def take_one(self, tp: TP) -> Message | None:
        """Return the next message of a partition, which is no longer counted."""
        ready = self._ready.get(tp)
        if not ready:
            return None
        message = ready.popleft()
        self._give_back(tp.topic, _size(message))
        return message

    def take_batch(self, tp: TP, most: int | None = None) -> MessageBatch | None:
        """Return the next messages of a partition, which count until they are acknowledged; `most` limits them."""
        ready = self._ready.get(tp)
        if not ready:
            return None
        timestamp = ready[0].timestamp()[1] / 1_000
        taken: list[Message] = []
        size = 0
        while ready and len(taken) != most and (not taken or size + _size(ready[0]) <= MAX_BATCH_BYTES):
            size += _size(ready[0])
            taken.append(ready.popleft())
        offsets = tuple(message.offset() or 0 for message in taken)
        self._delivered.setdefault(tp, {})[offsets[-1]] = (size, timestamp, len(offsets))
        return MessageBatch(tp.partition, offsets, tuple(message.value() or b"" for message in taken), timestamp, size)

    def acknowledge(self, tp: TP, last_offset: int) -> bool:
        """Stop counting a batch; return whether its topic is open again because of that."""
        size, *_ = self._delivered.get(tp, {}).pop(last_offset, (0, 0.0, 0))
        return self._give_back(tp.topic, size)

    def oldest(self) -> dict[str, float]:
        """Return the time at which the oldest message was written that is not acknowledged, by topic.

        Times are in seconds since the epoch.
        """
        times: dict[str, float] = {}
        for tp in self._ready.keys() | self._delivered.keys():
            of_partition = [timestamp for _, timestamp, _ in self._delivered.get(tp, {}).values()]
            if ready := self._ready.get(tp):
                of_partition.append(ready[0].timestamp()[1] / 1_000)
            if of_partition:
                times[tp.topic] = min(*of_partition, times.get(tp.topic, float("inf")))
        return times

    def waiting(self, ends: Mapping[TopicPartition, int]) -> dict[str, int]:
        """Return the number of messages that are not acknowledged, fetched or not, by topic.

        `ends` are the offsets after the last message of each partition, as far as they are known.
        """
        counts: dict[str, int] = {}
        for tp, next_offset in self._next.items():
            held = len(self._ready.get(tp, ())) + sum(count for *_, count in self._delivered.get(tp, {}).values())
            ahead = max(0, ends.get(TopicPartition(*tp), 0) - next_offset) if next_offset >= 0 else 0
            counts[tp.topic] = counts.get(tp.topic, 0) + held + ahead
        return counts

    def held_bytes(self) -> dict[str, int]:
        """Return the bytes of the messages that are not acknowledged, by topic."""
        return dict(self._held)

    def open_among(self, partitions: Iterable[TP]) -> Iterator[TP]:
        """Yield the partitions whose topic is open."""
        return (tp for tp in partitions if tp.topic not in self._full)

    def clear(self, partitions: Iterable[TP]) -> None:
        """Forget partitions: they were revoked, and their messages come again."""
        for tp in partitions:
            self._discard(tp)
            self._next.pop(tp, None)
            for size, *_ in self._delivered.pop(tp, {}).values():
                self._give_back(tp.topic, size)

    def _discard(self, tp: TP) -> None:
        for message in self._ready.pop(tp, ()):
            self._give_back(tp.topic, _size(message))

    def _give_back(self, topic: str, size: int) -> bool:
        self._held[topic] -= size
        if topic not in self._full or self._held[topic] > self.limit // 2:
            return False
        self._full.discard(topic)
        return True


def _size(message: Message) -> int:
    return max(len(message), MIN_MESSAGE_BYTES)
