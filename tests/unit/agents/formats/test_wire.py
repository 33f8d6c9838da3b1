"""Confluent's wire format: a zero byte, the id of the schema, and the indexes of a Protobuf message type."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from metroline.agents.formats import wire
from metroline.agents.formats.codec import NotReadable
from tests.support.worlds import examples

INDEXES = st.lists(st.integers(0, 300), min_size=1, max_size=5).map(tuple)


@examples(100)
@given(st.integers(0, wire.MAX_ID), INDEXES)
def test_what_is_written_is_read(identity: int, indexes: tuple[int, ...]) -> None:
    value = wire.header(identity) + wire.write_indexes(indexes) + b"data"

    assert wire.schema_id(value) == identity
    found, at = wire.read_indexes(value)
    assert (found, value[at:]) == (indexes, b"data")
    assert wire.parse_schema_text(wire.schema_text(identity, indexes)) == (identity, indexes)


def test_the_first_message_type_is_a_single_zero() -> None:
    assert wire.write_indexes((0,)) == b"\0"
    assert wire.write_indexes((1, 0)) == b"\x04\x02\x00", "two indexes, as zigzag varints"


@pytest.mark.parametrize(
    ("value", "problem"),
    [(b"", "the message is empty"), (b'{"a": 1}', "it begins with 7b"), (b"\0\0\0\1", "it has 4 bytes")],
)
def test_other_bytes_name_what_is_wrong(value: bytes, problem: str) -> None:
    with pytest.raises(NotReadable, match=problem):
        wire.schema_id(value)


@pytest.mark.parametrize("tail", [b"", b"\x80\x80", b"\x06\x00", b"\x01"])
def test_indexes_that_are_cut_off_are_not_readable(tail: bytes) -> None:
    with pytest.raises(NotReadable):
        wire.read_indexes(wire.header(1) + tail)
