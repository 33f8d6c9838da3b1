"""The latest records of a topic: no more is read than is wanted, and what is no record is left out."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from typing import Any, cast

import pytest

from metroline.agents.formats.codec import Decoded
from metroline.app.inputs.recent_records import FIRST_BLOCK, NoRecentRecords, RecentRecords, _records_in, _Tail


class Read:
    """A message as librdkafka's consumer returns it."""

    def __init__(self, partition: int, offset: int, value: bytes | None, at: int | None = None) -> None:
        self._place = partition, offset
        self._value = value
        self._at = offset if at is None else at

    def partition(self) -> int:
        return self._place[0]

    def offset(self) -> int:
        return self._place[1]

    def value(self) -> bytes | None:
        return self._value

    def key(self) -> bytes | None:
        return b"key %d" % self._place[1]

    def headers(self) -> list[tuple[str, bytes | None]]:
        return [("type", b"sale"), ("empty", None)]

    def timestamp(self) -> tuple[int, int]:
        return (1, 1_000 + self._at) if self._at >= 0 else (0, -1)


class Topic:
    """A topic whose messages have one size; those at some offsets are gone."""

    def __init__(self, size: int, gone: Collection[int] = ()) -> None:
        self.size = size
        self.gone = gone
        self.read = 0

    def fetch(self, places: Sequence[tuple[int, int]]) -> Iterator[Read]:
        for partition, offset in places:
            if offset not in self.gone:
                self.read += 1
                yield Read(partition, offset, b"x" * self.size)


def read_back(topic: Topic, begins: dict[int, int], ends: dict[int, int], count: int, max_bytes: int) -> _Tail:
    tail = _Tail(begins, ends)
    tail.read_back(cast(Any, topic), count, max_bytes)
    return tail


def test_no_more_is_read_than_is_wanted() -> None:
    topic = Topic(100)
    tail = read_back(topic, {0: 0, 1: 0}, {0: 100_000, 1: 100_000}, 2_000, 10_000_000)
    assert 2_000 <= len(tail.messages) <= 2_000 + 2 * FIRST_BLOCK
    assert min(message.offset() or 0 for message in tail.messages) > 98_000


def test_large_messages_are_bounded_by_their_size() -> None:
    topic = Topic(100_000)
    tail = read_back(topic, {0: 0}, {0: 100_000}, 20_000, 5_000_000)
    assert tail.size < 5_500_000


def test_all_is_read_of_a_short_topic_and_nothing_of_an_empty_one() -> None:
    assert len(read_back(Topic(10), {0: 5, 1: 0}, {0: 9, 1: 0}, 100, 1_000_000).messages) == 4
    assert read_back(Topic(10), {}, {}, 100, 1_000_000).messages == []


def test_gaps_of_a_compacted_topic_are_passed() -> None:
    topic = Topic(10, gone=range(100, 50_000))
    assert len(read_back(topic, {0: 0}, {0: 50_000}, 100, 1_000_000).messages) >= 100


async def recent(*messages: Read, count: int = 10, max_bytes: int = 1_000, decoder: Any = None) -> RecentRecords:
    return await _records_in("orders", cast(Any, list(messages)), count, max_bytes, decoder, 1_000_000)


async def test_records_keep_their_order_and_what_their_messages_had() -> None:
    found = await recent(Read(0, 4, b'{"n":1}'), Read(1, 7, b'{"n":2}\n{"n":3}'))
    assert found.lines == [b'{"n":1}', b'{"n":2}', b'{"n":3}']
    assert [each["key"] for each in found.attributes] == [b"key 4", b"key 7", b"key 7"]
    assert found.attributes[0]["headers"] == [("type", b"sale")]
    assert found.attributes[0]["timestamp_ms"] == 1_004
    used = found.used
    assert (used.count, used.bytes, used.places) == (3, 21, {"0": (4, 4), "1": (7, 7)})
    assert (used.first, used.last, used.origin) == (1.004, 1.007, "the topic orders")


async def test_the_latest_ones_are_taken() -> None:
    messages = [Read(0, offset, b'{"n":%d}' % offset) for offset in range(9)]
    assert (await recent(*messages, count=2)).lines == [b'{"n":7}', b'{"n":8}']
    assert (await recent(*messages, max_bytes=22)).lines == [b'{"n":6}', b'{"n":7}', b'{"n":8}']
    assert (await recent(Read(0, 1, b'{"n":1}\n{"n":2}\n{"n":3}'), count=2)).lines == [b'{"n":2}', b'{"n":3}']


async def test_what_is_no_record_is_left_out_and_counted() -> None:
    found = await recent(Read(0, 1, b"garbage"), Read(0, 2, None), Read(0, 3, b'{"n":3}', at=-2))
    assert (found.lines, found.used.left_out) == ([b'{"n":3}'], 2)
    assert (found.attributes[0]["timestamp_ms"], found.used.first) == (None, None)
    with pytest.raises(NoRecentRecords, match="the topic orders holds no records that can be compared"):
        await recent(Read(0, 1, b"garbage"))
    with pytest.raises(NoRecentRecords):
        await recent()


async def test_records_are_read_in_the_format_of_the_source() -> None:
    class Reversing:
        async def decode(self, values: Sequence[bytes | None]) -> Decoded:
            return Decoded([(value or b"")[::-1] for value in values], {1: "it cannot be read"})

    found = await recent(Read(0, 1, b'}1:"n"{'), Read(0, 2, b"?"), decoder=Reversing())
    assert (found.lines, found.used.left_out) == ([b'{"n":1}'], 1)
