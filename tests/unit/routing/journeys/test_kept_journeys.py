"""Kept journeys: what is chosen of many, and what a message says of them."""

from __future__ import annotations

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from metroline.routing.errors import MalformedEnvelope
from metroline.routing.journeys.kept_journeys import (
    MAX_MESSAGE_BYTES,
    MAX_RECORD_BYTES,
    EndedSegment,
    KeptJourneys,
    chosen,
    messages,
)
from metroline.routing.messages.envelope import Envelope
from metroline.routing.messages.record_ids import Origin
from metroline.routing.messages.segment import Segment, Visit
from metroline.routing.outcome import DELIVERED, Outcome

ORIGIN = Origin("source", 2)


def ended(count: int, *stops: str, size: int = 2, outcome: Outcome = DELIVERED) -> Segment:
    line = orjson.dumps({"x": "y" * size})
    visits = tuple(Visit(stop, 2.0, None, "on-ramp", 1) for stop in stops)
    return Segment(tuple(range(count)), (line,) * count, 1.0, visits, outcome=outcome)


@given(st.lists(st.tuples(st.integers(1, 30), st.sampled_from("abc")), max_size=40), st.integers(0, 100))
def test_as_many_as_may_be_are_chosen_each_once(sizes: list[tuple[int, str]], most: int) -> None:
    segments = [ended(count, stop) for count, stop in sizes]
    kept = chosen(segments, most)
    assert sum(map(len, kept)) == min(most, sum(count for count, _ in sizes))
    for segment, places in zip(segments, kept, strict=True):
        assert places == sorted(set(places))
        assert set(places) <= set(range(len(segment.ids)))


def test_a_rare_way_is_chosen_among_many_records_of_another() -> None:
    common, rare = ended(1_000, "a"), ended(2, "b")
    dropped = ended(3, "a", outcome=Outcome.dropped("no"))
    assert chosen([common, rare, dropped], 9) == [[0, 250, 500, 750], [0, 1], [0, 1, 2]]


def test_a_message_comes_back_as_it_was_written() -> None:
    segments = [EndedSegment(ended(2, "a"), 5.0), EndedSegment(ended(1, "b"), 6.5)]
    [message] = messages("conductor", ORIGIN, segments, 40)
    assert KeptJourneys.decode(message.encode(), 2) == message
    assert (message.count, message.ended, message.envelope.strategy) == (40, (5.0, 6.5), "conductor")


def test_messages_are_bounded_and_count_once() -> None:
    segments = [EndedSegment(ended(100, "a", size=10_000), 5.0), EndedSegment(ended(5, "b"), 6.0)]
    written = list(messages("conductor", ORIGIN, segments, 7))
    assert [one.count for one in written] == [7, *[0] * (len(written) - 1)]
    assert len(written) == 4
    assert all(len(one.encode()) < 1.2 * MAX_MESSAGE_BYTES for one in written)
    assert sum(len(one.envelope) for one in written) == 105


def test_of_a_large_record_the_beginning_is_kept() -> None:
    [message] = messages("conductor", ORIGIN, [EndedSegment(ended(1, "a", size=50_000), 5.0)], 1)
    [record] = map(orjson.loads, message.envelope.segments[0].lines)
    assert record["raw"]["size"] == 50_008
    assert len(record["raw"]["text"]) == MAX_RECORD_BYTES


WRITTEN = next(messages("conductor", ORIGIN, [EndedSegment(ended(1, "a"), 5.0)], 1))
HEAD, REST = WRITTEN.encode().split(b"\n", 1)


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        REST,
        HEAD,
        b"{}\n" + REST,
        b"[]\n" + REST,
        b"no\n" + REST,
        b'{"count":-1,"ended":[1]}\n' + REST,
        b'{"count":1,"ended":[1,2]}\n' + REST,
        b'{"count":1,"ended":["x"]}\n' + REST,
        HEAD + b"\n" + Envelope("", ORIGIN, (Segment((1,), (b"{}",), 1.0),)).encode(),
    ],
)
def test_what_holds_no_journeys_is_malformed(raw: bytes) -> None:
    with pytest.raises(MalformedEnvelope):
        KeptJourneys.decode(raw)


def test_journeys_of_another_partition_are_malformed() -> None:
    with pytest.raises(MalformedEnvelope, match="its origin is partition 2"):
        KeptJourneys.decode(WRITTEN.encode(), 3)
