"""Plain messages: a delivered record looks like the message in which it came."""

from __future__ import annotations

from metroline.routing.messages.metadata import Metadata
from metroline.routing.messages.plain import BY_KEY, PlainMessage, plain_messages
from metroline.routing.messages.record_ids import Origin
from metroline.routing.messages.segment import Segment

ORIGIN = Origin("source", 3)


def test_a_record_has_key_headers_and_timestamp_of_its_source_message_and_its_id() -> None:
    headers = (("type", b"order"), ("type", b"again"), ("none", None))
    segment = Segment((7, (8, 1, 2)), (b"{}", b"[]"), 0.0, metadata=Metadata((b"k", None), (headers, None), (5, 6)))
    assert list(plain_messages(ORIGIN, [segment])) == [
        PlainMessage(b"{}", b"k", BY_KEY, 5, [*headers, ("metroline-id", "source-3-7")]),
        PlainMessage(b"[]", None, 3, 6, [("metroline-id", "source-3-8.1")]),
    ]


def test_without_metadata_a_record_stays_in_its_partition_and_gets_the_time_of_the_writing() -> None:
    [message] = plain_messages(ORIGIN, [Segment((7,), (b"{}",), 0.0)])
    assert message == PlainMessage(b"{}", None, 3, 0, [("metroline-id", "source-3-7")])


def test_the_id_that_another_line_gave_to_a_record_is_replaced() -> None:
    came = ((("metroline-id", b"source-0-1"), ("a", b"b")),)
    [message] = plain_messages(ORIGIN, [Segment((7,), (b"{}",), 0.0, metadata=Metadata(None, came, None))])
    assert message.headers == [("a", b"b"), ("metroline-id", "source-3-7")]


def test_a_tombstone_is_a_message_without_a_value_again() -> None:
    segment = Segment((7,), (b"null",), 0.0, metadata=Metadata((b"k",), None, None))
    assert list(plain_messages(ORIGIN, [segment])) == [
        PlainMessage(None, b"k", BY_KEY, 0, [("metroline-id", "source-3-7")])
    ]
