"""Fetched messages: batches in the order of their offsets, and a bound on what a worker holds of each topic."""

from __future__ import annotations

from collections import deque

from confluent_kafka import OFFSET_BEGINNING, Message
from faust.types import TP
from hypothesis import given
from hypothesis import strategies as st

from metroline.agents.kafka.fetch_buffers import MAX_BATCH_BYTES, MIN_MESSAGE_BYTES, FetchBuffers
from tests.support.worlds import examples

SLOW, FAST = [TP("slow", number) for number in range(4)], [TP("fast", number) for number in range(4)]


def messages(tp: TP, first: int, count: int, size: int = 3) -> list[Message]:
    return [
        Message(topic=tp.topic, partition=tp.partition, offset=first + number, value=b"x" * size, timestamp=(1, 5_000))
        for number in range(count)
    ]


def test_all_that_is_there_of_a_partition_is_one_batch() -> None:
    buffers = FetchBuffers(10 * MIN_MESSAGE_BYTES)
    buffers.add(SLOW[0], messages(SLOW[0], 7, 2))
    buffers.add(SLOW[0], messages(SLOW[0], 9, 1))
    assert buffers.ready([*SLOW, *FAST]) == [SLOW[0]]
    batch = buffers.take_batch(SLOW[0])
    assert batch is not None
    assert (batch.offsets, batch.values, batch.timestamp) == ((7, 8, 9), (b"xxx",) * 3, 5.0)
    assert buffers.take_batch(SLOW[0]) is None
    assert buffers.next_offset(SLOW[0]) == 10


def test_a_batch_is_bounded_and_a_message_that_is_larger_is_alone() -> None:
    buffers = FetchBuffers(10 * MAX_BATCH_BYTES)
    buffers.add(SLOW[0], messages(SLOW[0], 0, 3, MAX_BATCH_BYTES // 2))
    buffers.add(SLOW[0], messages(SLOW[0], 3, 1, 2 * MAX_BATCH_BYTES))
    taken = [buffers.take_batch(SLOW[0]) for _ in range(4)]
    assert [None if batch is None else batch.offsets for batch in taken] == [(0, 1), (2,), (3,), None]


def test_a_batch_has_no_more_messages_than_its_agent_may_be_handed() -> None:
    buffers = FetchBuffers(10 * MAX_BATCH_BYTES)
    buffers.add(SLOW[0], messages(SLOW[0], 0, 5))
    taken = [buffers.take_batch(SLOW[0], most=2) for _ in range(4)]
    assert [None if batch is None else batch.offsets for batch in taken] == [(0, 1), (2, 3), (4,), None]


def test_a_full_topic_is_closed_until_half_of_it_is_acknowledged_and_another_is_open() -> None:
    buffers = FetchBuffers(4 * MIN_MESSAGE_BYTES)
    for number, tp in enumerate(SLOW):
        buffers.add(tp, messages(tp, number, 1))
        assert buffers.take_batch(tp) is not None
    assert set(buffers.open_among([*SLOW, *FAST])) == set(FAST)
    assert not buffers.acknowledge(SLOW[2], 2)
    assert set(buffers.open_among([*SLOW, *FAST])) == set(FAST)
    assert buffers.acknowledge(SLOW[0], 0)
    assert set(buffers.open_among([*SLOW, *FAST])) == {*SLOW, *FAST}


def test_messages_that_are_taken_singly_are_not_held() -> None:
    buffers = FetchBuffers(MIN_MESSAGE_BYTES)
    buffers.add(SLOW[0], messages(SLOW[0], 0, 2))
    assert not set(buffers.open_among(SLOW))
    assert [one and one.offset() for one in (buffers.take_one(SLOW[0]) for _ in range(3))] == [0, 1, None]
    assert set(buffers.open_among(SLOW)) == set(SLOW)


def test_a_seek_discards_what_was_fetched_and_reading_goes_on_from_there() -> None:
    buffers = FetchBuffers(MIN_MESSAGE_BYTES)
    assert buffers.next_offset(SLOW[0]) == OFFSET_BEGINNING
    buffers.add(SLOW[0], messages(SLOW[0], 5, 3))
    buffers.seek(SLOW[0], 2)
    assert buffers.next_offset(SLOW[0]) == 2
    assert buffers.take_batch(SLOW[0]) is None
    assert set(buffers.open_among(SLOW)) == set(SLOW)


def test_what_a_revoked_partition_held_no_longer_counts_even_if_it_is_acknowledged_late() -> None:
    buffers = FetchBuffers(2 * MIN_MESSAGE_BYTES)
    buffers.add(SLOW[0], messages(SLOW[0], 0, 1))
    assert buffers.take_batch(SLOW[0]) is not None
    buffers.add(SLOW[0], messages(SLOW[0], 1, 1))
    buffers.clear([SLOW[0]])
    assert not buffers.acknowledge(SLOW[0], 0)
    buffers.add(SLOW[1], messages(SLOW[1], 0, 1))
    assert set(buffers.open_among(SLOW)) == set(SLOW)
    buffers.add(SLOW[1], messages(SLOW[1], 1, 1))
    assert not set(buffers.open_among(SLOW))


@examples(100)
@given(
    st.lists(st.tuples(st.sampled_from([*SLOW, *FAST]), st.sampled_from(["fetch", "take", "acknowledge", "revoke"])))
)
def test_what_is_open_follows_from_what_is_held(steps: list[tuple[TP, str]]) -> None:
    limit = 5
    buffers = FetchBuffers(limit * MIN_MESSAGE_BYTES)
    fetched: dict[TP, int] = {}
    delivered: dict[TP, deque[tuple[int, int]]] = {}
    for tp, step in steps:
        if step == "fetch":
            buffers.add(tp, messages(tp, max(0, buffers.next_offset(tp)), 2))
            fetched[tp] = fetched.get(tp, 0) + 2
        elif step == "take" and (batch := buffers.take_batch(tp)) is not None:
            assert len(batch.offsets) == fetched.pop(tp)
            delivered.setdefault(tp, deque()).append((batch.offsets[-1], len(batch.offsets)))
        elif step == "acknowledge" and delivered.get(tp):
            buffers.acknowledge(tp, delivered[tp].popleft()[0])
        elif step == "revoke":
            buffers.clear([tp])
            fetched.pop(tp, None)
            delivered.pop(tp, None)
        for topic in ("slow", "fast"):
            held = sum(count for one, count in fetched.items() if one.topic == topic)
            held += sum(count for one, batches in delivered.items() for _, count in batches if one.topic == topic)
            is_open = bool(set(buffers.open_among([TP(topic, 0)])))
            assert is_open or held > limit // 2
            assert not is_open or held < limit


def test_messages_wait_until_they_are_acknowledged_fetched_or_not() -> None:
    buffers = FetchBuffers(100 * MIN_MESSAGE_BYTES)
    one, other = SLOW[:2]
    buffers.seek(one, 5)
    assert buffers.waiting({}) == {"slow": 0}
    assert buffers.waiting({one: 9}) == {"slow": 4}, "four are not fetched yet"
    buffers.add(one, messages(one, 5, 3))
    buffers.add(other, messages(other, 0, 2))
    assert buffers.waiting({one: 9, other: 2}) == {"slow": 1 + 3 + 2}
    batch = buffers.take_batch(one)
    assert batch is not None
    assert buffers.waiting({one: 9, other: 2}) == {"slow": 6}, "what is in work is not done"
    buffers.acknowledge(one, batch.offsets[-1])
    assert buffers.waiting({one: 9, other: 2}) == {"slow": 3}
    assert buffers.waiting({one: 4}) == {"slow": 2}, "an end that is known from before is no end"
