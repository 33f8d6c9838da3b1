"""A bounded memory of the messages that hold journeys: compressed, the oldest ones are forgotten first."""

from __future__ import annotations

import heapq
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import msgspec

from metroline.app.operations.journeys.ended_journey import EndedJourney, RawMessage, Shelf, read_message
from metroline.routing.errors import MetrolineError

SHELF_BYTES = 24 * 1024 * 1024
"""Compressed bytes of each of the two topics that a memory holds, at most: about ten times as much before."""

CHUNK_BYTES, CHUNK_MESSAGES = 128 * 1024, 100
"""Bytes and messages that are compressed together, and decompressed for a search."""

NOT_OURS = (MetrolineError, ValueError, TypeError, LookupError, OverflowError, msgspec.MsgspecError)
"""Errors of messages that no worker of the line wrote."""

Row = tuple[Shelf, int]
"""The messages of a partition of one of the topics."""


@dataclass(slots=True)
class _Chunk:
    """Messages that follow one another in a partition; times are in seconds since the epoch."""

    packed: bytes
    first: float
    last: float
    journeys: int
    ended: int
    """Number of journeys that ended meanwhile in the partition, whether they were kept or not."""


@dataclass(slots=True)
class _Open:
    """The latest messages of a partition, which are not compressed yet."""

    messages: list[RawMessage] = field(default_factory=list)
    size: int = 0
    first: float = float("inf")
    last: float = 0.0
    journeys: int = 0
    ended: int = 0
    next_offset: int = 0
    """The offset behind the last message that was taken."""


@dataclass(frozen=True, slots=True)
class Held:
    """The journeys of a topic that a memory holds, and the number of those that ended; the earliest time, if any."""

    journeys: int
    ended: int
    since: float | None


class JourneyMemory:
    """The messages of both topics, by partition."""

    def __init__(self, shelf_bytes: int = SHELF_BYTES) -> None:
        self._shelf_bytes = shelf_bytes
        self._chunks: dict[Row, list[_Chunk]] = {}
        self._open: dict[Row, _Open] = {}
        self._sizes = dict.fromkeys(Shelf, 0)
        self.forgotten = dict.fromkeys(Shelf, 0)
        """Number of journeys that were forgotten, by topic."""
        self.foreign = 0
        """Number of messages that no worker of the line wrote."""

    def clear(self, shelf: Shelf) -> None:
        """Forget all of a topic, which was created anew."""
        for rows in (self._chunks, self._open):
            for row in [row for row in rows if row[0] is shelf]:
                del rows[row]
        self._sizes[shelf] = self.forgotten[shelf] = 0

    def add(self, shelf: Shelf, partition: int, message: RawMessage) -> None:
        """Add a message, unless it was added before or no worker of the line wrote it."""
        row = shelf, partition
        latest = self._open.setdefault(row, _Open())
        if message.offset < latest.next_offset:
            return
        latest.next_offset = message.offset + 1
        try:
            envelope, times, ended = read_message(shelf, partition, message)
        except NOT_OURS:
            self.foreign += 1
            return
        latest.messages.append(message)
        latest.size += len(message.value or b"")
        latest.first, latest.last = min(latest.first, *times), max(latest.last, *times)
        latest.journeys += len(envelope)
        latest.ended += ended
        if latest.size >= CHUNK_BYTES or len(latest.messages) >= CHUNK_MESSAGES:
            self._close(row, latest)

    def held(self, shelf: Shelf) -> Held:
        """Return how many journeys of a topic the memory holds."""
        parts: list[_Chunk | _Open] = [chunk for row, own in self._chunks.items() if row[0] is shelf for chunk in own]
        parts += [latest for row, latest in self._open.items() if row[0] is shelf and latest.messages]
        since = min((part.first for part in parts), default=None)
        return Held(sum(part.journeys for part in parts), sum(part.ended for part in parts), since)

    def newest_first(self, before: float | None = None) -> Iterator[EndedJourney]:
        """Yield the journeys that ended at a time, in seconds since the epoch, or before it; the newest first."""
        rows = [self._of_row(row, before) for row in list(self._open)]
        return heapq.merge(*rows, key=lambda journey: (-journey.ended, journey.id))

    def of_partition(self, partition: int, marks: Sequence[bytes]) -> Iterator[EndedJourney]:
        """Yield journeys of a partition of the source, of messages that hold one of these texts."""
        for row in list(self._open):
            shelf, own = row
            if shelf is Shelf.FAILED or own == partition:
                for messages in self._messages(row, None):
                    for message in messages:
                        if may_hold(message, marks):
                            yield from journeys_of(shelf, own, message)

    def _of_row(self, row: Row, before: float | None) -> Iterator[EndedJourney]:
        shelf, partition = row
        for messages in self._messages(row, before):
            found = [journey for message in messages for journey in journeys_of(shelf, partition, message)]
            found.sort(key=lambda journey: (-journey.ended, journey.id))
            yield from (journey for journey in found if before is None or journey.ended <= before)

    def _messages(self, row: Row, before: float | None) -> Iterator[Sequence[RawMessage]]:
        """Yield the messages of a partition in chunks, the latest first, without chunks of a later time."""
        latest = self._open[row]
        if latest.messages and (before is None or latest.first <= before):
            yield list(latest.messages)
        for chunk in reversed(list(self._chunks.get(row, ()))):
            if before is None or chunk.first <= before:
                yield _DECODER.decode(zlib.decompress(chunk.packed))

    def _close(self, row: Row, latest: _Open) -> None:
        packed = zlib.compress(_ENCODER.encode(latest.messages), 1)
        chunk = _Chunk(packed, latest.first, latest.last, latest.journeys, latest.ended)
        self._chunks.setdefault(row, []).append(chunk)
        self._open[row] = _Open(next_offset=latest.next_offset)
        self._sizes[row[0]] += len(packed)
        while self._sizes[row[0]] > self._shelf_bytes:
            self._forget_oldest(row[0])

    def _forget_oldest(self, shelf: Shelf) -> None:
        rows = [own for row, own in self._chunks.items() if row[0] is shelf and own]
        oldest = min(rows, key=lambda own: own[0].last)
        chunk = oldest.pop(0)
        self._sizes[shelf] -= len(chunk.packed)
        self.forgotten[shelf] += chunk.journeys


_ENCODER = msgspec.msgpack.Encoder()
_DECODER = msgspec.msgpack.Decoder(list[RawMessage])


def may_hold(message: RawMessage, marks: Sequence[bytes]) -> bool:
    """Return whether a message holds one of some texts, in its value or in one of its headers."""
    places = [message.value or b"", *(value for _, value in message.headers if value)]
    return any(mark in place for mark in marks for place in places)


def journeys_of(shelf: Shelf, partition: int, message: RawMessage) -> Iterator[EndedJourney]:
    """Yield the journeys in a message; none if no worker of the line wrote it."""
    try:
        yield from read_message(shelf, partition, message).journeys()
    except NOT_OURS:
        return
