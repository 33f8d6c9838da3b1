"""The latest records of a topic, read backwards from its end, so that no more is read than is wanted."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, cast

from aiokafka import TopicPartition
from aiokafka.errors import KafkaError
from confluent_kafka import Message
from msgspec import Struct

from metroline.agents.formats.codec import Decoder
from metroline.agents.kafka.cluster import Cluster, ClusterError
from metroline.agents.kafka.topic_admin import TopicAdmin
from metroline.agents.kafka.topic_tail import Place, TopicTail
from metroline.routing.errors import MetrolineError
from metroline.routing.records.source_messages import read_message

FIRST_BLOCK = 32
"""Messages of each partition that are read first; their sizes say how many may follow."""

MAX_RECORDS = 20_000
"""Maximum number of records of a comparison on recent records."""

MAX_BYTES = 16 * 1024 * 1024
"""Maximum size of these records together, in bytes."""

LARGEST_ATTRIBUTES = 64 * 1024
"""Bytes that are left to the key and the headers of a message whose record is longer as JSON than it was."""

LARGEST_BLOCK = 20_000
"""Offsets of each partition that are looked at together: compacted topics have gaps."""


class NoRecentRecords(MetrolineError):
    """Raised when a topic holds no record that can be used."""


class RecordsUsed(Struct, frozen=True):
    """The records of a comparison: how many, of which size, and where they are from."""

    count: int = 0
    bytes: int = 0
    """Size of the records as JSON, in bytes."""
    origin: str = ""
    """The topic, file or line that they are from."""
    first: float | None = None
    """Time of the first record, in seconds since the epoch; None if they have no times."""
    last: float | None = None
    places: dict[str, tuple[int, int]] = {}
    """Offsets of the first and the last message of each partition of the topic."""
    left_out: int = 0
    """Messages among them that hold no record."""


@dataclass(frozen=True, slots=True)
class RecentRecords:
    """Records in the order in which they came, with what else their messages held."""

    lines: list[bytes]
    attributes: list[dict[str, Any]]
    """Key, headers and timestamp of the message of each record, as parameters of aiokafka's producer."""
    used: RecordsUsed
    message_bytes: int
    """Size limit of the messages of the topic, in bytes."""


@dataclass(slots=True)
class _Tail:
    """The messages at the end of a topic that were read so far."""

    begins: dict[int, int]
    """The offset of the first message of each partition."""
    ends: dict[int, int]
    """The offset before which each partition is read on."""
    messages: list[Message] = field(default_factory=list)
    size: int = 0

    def read_back(self, reader: TopicTail, count: int, max_bytes: int) -> None:
        """Read until there are so many messages or bytes, or until there are no more."""
        each = FIRST_BLOCK
        while (open_ones := self._open()) and len(self.messages) < count and self.size < max_bytes:
            places = [place for number in open_ones for place in self._block(number, each)]
            found = list(reader.fetch(places))
            self.messages += found
            self.size += sum(map(_size, found))
            self.ends = {number: end - each for number, end in self.ends.items()}
            each = self._next_block(each, count, max_bytes) if found else min(2 * each, LARGEST_BLOCK)

    def _open(self) -> list[int]:
        return [number for number, end in self.ends.items() if end > self.begins[number]]

    def _block(self, number: int, each: int) -> list[Place]:
        end = self.ends[number]
        return [(number, offset) for offset in range(max(self.begins[number], end - each), end)]

    def _next_block(self, each: int, count: int, max_bytes: int) -> int:
        """Return the number of messages to read of each partition next, if they are as large as those so far."""
        average = self.size / len(self.messages)
        wanted = min(count - len(self.messages), (max_bytes - self.size) / average)
        return max(1, min(round(wanted / max(1, len(self._open()))), 4 * each, LARGEST_BLOCK))


def _lateness(message: Message, ends: Mapping[int, int]) -> tuple[int, int, int]:
    """Return what orders messages by time; of those of one moment, none of the partitions is preferred."""
    partition, offset = message.partition() or 0, message.offset() or 0
    return message.timestamp()[1], offset - ends[partition], partition


def _size(message: Message) -> int:
    return len(message.value() or b"") + len(message.key() or b"") + 100


async def read_recent(
    cluster: Cluster, topic: str, count: int, max_bytes: int, decoder: Decoder | None
) -> RecentRecords:
    """Return the latest `count` records of a topic, or fewer if they are larger than `max_bytes` together.

    `decoder` reads the topic's format; None for JSON. Raise `NoRecentRecords` if there are none, and `ClusterError`.
    """
    partitions = (await TopicAdmin(cluster).partitions([topic])).get(topic, 0)
    wanted = [TopicPartition(topic, number) for number in range(partitions)]
    ends = _by_number(await TopicAdmin(cluster).high_watermarks(wanted))
    tail = _Tail(await _begins(cluster, wanted), ends)
    await asyncio.to_thread(tail.read_back, TopicTail(cluster, topic), count, max_bytes)
    messages = sorted(tail.messages, key=lambda one: _lateness(one, ends))
    limit = await TopicAdmin(cluster).message_bytes(topic)
    return await _records_in(topic, messages, count, max_bytes, decoder, limit)


async def _begins(cluster: Cluster, wanted: list[TopicPartition]) -> dict[int, int]:
    """Return the offset of the first message of each partition."""
    if not wanted:
        return {}
    async with cluster.consumer() as consumer:
        try:
            return _by_number(await consumer.beginning_offsets(wanted))
        except KafkaError as error:
            raise ClusterError(f"{cluster.bootstrap} does not say where {wanted[0].topic} begins: {error}") from error


def _by_number(offsets: Mapping[TopicPartition, int]) -> dict[int, int]:
    return {partition.partition: offset for partition, offset in offsets.items()}


async def _records_in(
    topic: str, messages: list[Message], count: int, max_bytes: int, decoder: Decoder | None, limit: int
) -> RecentRecords:
    """Return the latest records in messages, which may hold several each."""
    values = [message.value() or b"" for message in messages]
    given = await _lines(values, decoder)
    lines: list[bytes] = []
    attributes: list[dict[str, Any]] = []
    places: dict[str, tuple[int, int]] = {}
    size = left_out = 0
    for message, records in zip(reversed(messages), reversed(given), strict=True):
        if not records:
            left_out += 1
            continue
        more = sum(map(len, records))
        if lines and (len(lines) + len(records) > count or size + more > max_bytes):
            break
        size += more
        lines += reversed(records[-count:])
        attributes += [_attributes(message)] * len(records[-count:])
        _note(places, message)
    if not lines:
        raise NoRecentRecords(f"the topic {topic} holds no records that can be compared")
    lines.reverse()
    attributes.reverse()
    times = [one["timestamp_ms"] / 1000 for one in attributes if one["timestamp_ms"] is not None]
    first, last = (min(times), max(times)) if times else (None, None)
    used = RecordsUsed(len(lines), size, f"the topic {topic}", first, last, dict(sorted(places.items())), left_out)
    longest = max(map(len, lines)) + LARGEST_ATTRIBUTES
    return RecentRecords(lines, attributes, used, max(limit, longest))


async def _lines(values: list[bytes], decoder: Decoder | None) -> list[list[bytes]]:
    """Return the records in each message, each in a line of JSON; none if a message cannot be read."""
    if decoder is None:
        return [[one.line for one in read_message(value) if one.record is not None] for value in values]
    decoded = await decoder.decode(values)
    found = []
    for place, value in enumerate(decoded.values):
        found.append([] if place in decoded.problems or not value else [value])
    return found


def _attributes(message: Message) -> dict[str, Any]:
    kind, at = message.timestamp()
    given = cast("list[tuple[str, bytes | None]]", message.headers() or [])
    headers = [(name, value) for name, value in given if value is not None]
    return {"key": message.key(), "headers": headers, "timestamp_ms": at if kind and at > 0 else None}


def _note(places: dict[str, tuple[int, int]], message: Message) -> None:
    offset, partition = message.offset() or 0, str(message.partition())
    first, last = places.get(partition, (offset, offset))
    places[partition] = min(first, offset), max(last, offset)
