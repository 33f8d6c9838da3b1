"""Plain messages: a delivered record looks like the message in which it came."""

from __future__ import annotations

import pytest

from metroline.routing.messages.metadata import Metadata
from metroline.routing.messages.plain import BY_KEY, PlainMessage, plain_messages
from metroline.routing.messages.record_ids import Origin
from metroline.routing.messages.segment import Segment

ORIGIN = Origin("source", 3)


def test_a_record_has_key_headers_and_timestamp_of_its_source_message_and_its_id() -> None:
    headers = (("type", b"order"), ("type", b"again"), ("none", None))
    segment = Segment((7, (8, 1, 2)), (b"{}", b"[]"), 0.0, metadata=Metadata((b"k", None), (headers, None), (5, 6)))
    assert list(plain_messages(ORIGIN, [segment], 3)) == [
        PlainMessage(b"{}", b"k", BY_KEY, 5, [*headers, ("metroline-id", "source-3-7")]),
        PlainMessage(b"[]", None, 3, 6, [("metroline-id", "source-3-8.1")]),
    ]


def test_without_metadata_a_record_stays_in_its_partition_and_gets_the_time_of_the_writing() -> None:
    [message] = plain_messages(ORIGIN, [Segment((7,), (b"{}",), 0.0)], 3)
    assert message == PlainMessage(b"{}", None, 3, 0, [("metroline-id", "source-3-7")])


def test_the_id_that_another_line_gave_to_a_record_is_replaced() -> None:
    came = ((("metroline-id", b"source-0-1"), ("a", b"b")),)
    [message] = plain_messages(ORIGIN, [Segment((7,), (b"{}",), 0.0, metadata=Metadata(None, came, None))], 3)
    assert message.headers == [("a", b"b"), ("metroline-id", "source-3-7")]


def test_a_tombstone_is_a_message_without_a_value_again() -> None:
    segment = Segment((7,), (b"null",), 0.0, metadata=Metadata((b"k",), None, None))
    assert list(plain_messages(ORIGIN, [segment], 3)) == [
        PlainMessage(None, b"k", BY_KEY, 0, [("metroline-id", "source-3-7")])
    ]


@pytest.mark.parametrize(
    ("line", "key"),
    [
        (b'{"id":"a-1","n":1}', b"a-1"),
        (b'{"id":17}', b"17"),
        (b'{"id":true}', b"true"),
        (b'{"id":["a",{"b":1}]}', b'["a",{"b":1}]'),
        (b'{"id":null}', None),
        (b"{}", None),
    ],
)
def test_a_field_of_the_record_can_be_the_key(line: bytes, key: bytes | None) -> None:
    segment = Segment((7,), (line,), 0.0, metadata=Metadata((b"k",), None, None))
    [message] = plain_messages(ORIGIN, [segment], 1, "id")
    assert (message.key, message.partition) == (key, 1 if key is None else BY_KEY)


def test_a_tombstone_keeps_the_key_of_its_source_message_where_a_field_is_the_key() -> None:
    segment = Segment((7, 8), (b"null", b'{"id":"a"}'), 0.0, metadata=Metadata((b"k", b"l"), None, None))
    assert [message.key for message in plain_messages(ORIGIN, [segment], 3, "id")] == [b"k", b"a"]
