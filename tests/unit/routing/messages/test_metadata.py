"""Metadata of source messages: it stays with its record, and takes no room where there is none."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from msgspec.structs import replace

from metroline.routing.errors import MalformedEnvelope
from metroline.routing.messages.envelope import Envelope, join, pack
from metroline.routing.messages.metadata import NO_TIMESTAMP, Headers, Metadata
from metroline.routing.messages.record_ids import Origin
from metroline.routing.messages.segment import Segment, meta_of
from metroline.routing.meta import Meta

TYPED: Headers = (("type", b"order"), ("trace", b"\xff\x00"), ("empty", None))


def segment_of(*offsets: int, metadata: Metadata | None = None) -> Segment:
    return Segment(offsets, tuple(b"%d" % offset for offset in offsets), 900.0, metadata=metadata)


def keyed(*offsets: int) -> Segment:
    """Return a segment in which each record has its offset as key, and headers and a timestamp that tell it apart."""
    keys = tuple(b"k%d" % offset for offset in offsets)
    headers: tuple[Headers, ...] = tuple((("at", b"%d" % offset),) for offset in offsets)
    return segment_of(*offsets, metadata=Metadata(keys, headers, tuple(1_000 + offset for offset in offsets)))


def seen(envelope: Envelope) -> dict[tuple[int, Any], tuple[bytes | None, Headers, int]]:
    """Return the metadata of each record by its partition and id."""
    return {
        (part.origin.partition, record): (meta.key_of(place), meta.headers_of(place), meta.timestamp_of(place))
        for part in envelope.by_partition()
        for segment in part.segments
        for meta in [segment.metadata or Metadata()]
        for place, record in enumerate(segment.ids)
    }


def expected(offset: int) -> tuple[bytes, Headers, int]:
    return b"k%d" % offset, (("at", b"%d" % offset),), 1_000 + offset


def test_no_key_and_no_header_leave_no_trace_in_an_envelope() -> None:
    metadata = Metadata.of([None, None], [None, []], [NO_TIMESTAMP, NO_TIMESTAMP])
    plain = Envelope("signpost", Origin("source", 0), (segment_of(1, 2),))
    assert replace(plain, segments=(segment_of(1, 2, metadata=metadata),)).encode() == plain.encode()


def test_headers_that_records_share_and_equal_timestamps_are_written_once() -> None:
    many = Metadata.of([None] * 500, [list(TYPED)] * 500, [1_700_000_000_000] * 500)
    header = Envelope("signpost", Origin("source", 0), (segment_of(*range(500), metadata=many),)).encode()
    assert header.count(b"order") == header.count(b"1700000000000") == 1


def test_the_schema_of_its_message_stays_with_a_record_and_is_written_once() -> None:
    one = segment_of(1, 2, 3, metadata=Metadata(schemas=("7", "7", "7")))
    other = segment_of(4, 5, metadata=Metadata(schemas=("7", None)))
    written = Envelope("signpost", Origin("source", 0), (one,)).encode()
    together = join(
        [
            Envelope("signpost", Origin("source", partition), (segment,))
            for partition, segment in enumerate((one, other, segment_of(6)))
        ]
    )

    assert written.count(b'"7"') == 1
    found = [Envelope.decode(part.encode()).segments[0].metadata for part in together.by_partition()]
    assert [None if own is None else own.schemas for own in found] == [("7", "7", "7"), ("7", None), (None,)]
    assert Metadata(schemas=("7", "8")).repeated([2, 1]).part([1, 2]) == Metadata(schemas=("7", "8"))


def test_a_record_keeps_its_metadata_when_it_is_packed_and_joined_with_others() -> None:
    one, other = keyed(1, 2, 3), keyed(4, 5)
    plain = segment_of(6, 7)
    envelopes = [
        Envelope("signpost", Origin("source", partition), (segment,))
        for partition, segment in ((0, one), (1, other), (2, plain))
    ]
    together = join(envelopes)
    assert len(together.segments) == 1
    cut = [Envelope.decode(pack_of.encode()) for part in together.by_partition() for pack_of in _packs_of_two(part)]
    assert len(cut) == 4
    assert {place: own for envelope in cut for place, own in seen(envelope).items()} == {
        **{(0, offset): expected(offset) for offset in (1, 2, 3)},
        **{(1, offset): expected(offset) for offset in (4, 5)},
        **{(2, offset): (None, (), NO_TIMESTAMP) for offset in (6, 7)},
    }


def _packs_of_two(envelope: Envelope) -> list[Envelope]:
    return list(pack(envelope.strategy, envelope.origin, envelope.segments, 1_000_000, 2))


def test_keys_and_headers_count_towards_the_size_of_a_pack() -> None:
    large = Metadata((b"k" * 600,) * 4, (((("name", b"v" * 400)),),) * 4, None)
    segment = segment_of(1, 2, 3, 4, metadata=large)
    assert [len(one) for one in pack("signpost", Origin("source", 0), [segment], 2_100, 500)] == [2, 2]


def test_a_service_sees_the_message_of_a_record_and_the_last_of_several_headers_with_one_name() -> None:
    metadata = Metadata((b"k",), ((("type", b"old"), *TYPED),), (1_500,))
    segment = replace(segment_of(1, metadata=metadata), ids=((17, 2, 3),))
    assert meta_of(Origin("source", 5), segment, 0, "orders.in") == Meta(
        b"k", {"type": b"order", "trace": b"\xff\x00", "empty": None}, 1.5, "orders.in", 5, 17
    )
    assert meta_of(Origin("source", 0), segment_of(4), 0, "orders.in") == Meta(None, {}, None, "orders.in", 0, 4)


@pytest.mark.parametrize(
    "malformed",
    [
        {"keys": []},
        {"keys": ["a", "b", "c"]},
        {"keys": [1, 2]},
        {"keys": [["not base64!"], None]},
        {"headers": [[[["a", "b"]]], [0, 1]]},
        {"headers": [[[["a", "b"]]], [-1, 0]]},
        {"headers": [[[["a"]]], []]},
        {"headers": [[], []]},
        {"schemas": [["7"], [0]]},
        {"schemas": [[7], []]},
        {"timestamps": []},
        {"timestamps": [0, 1]},
        {"timestamps": [0.5]},
        {"timestamps": [2**63]},
    ],
)
def test_malformed_metadata_makes_a_malformed_envelope(malformed: dict[str, Any]) -> None:
    head, *lines = Envelope("signpost", Origin("source", 0), (segment_of(1, 2),)).encode().split(b"\n")
    header = orjson.loads(head)
    header["segments"][0] |= malformed
    with pytest.raises(MalformedEnvelope):
        Envelope.decode(b"\n".join([orjson.dumps(header), *lines]))


@pytest.mark.parametrize("at", [-(2**63), -(2**60), 2**53, 2**62 - 1, 2**63 - 1])
def test_a_timestamp_that_no_clock_has_does_not_spoil_the_envelope_that_its_record_shares(at: int) -> None:
    metadata = Metadata.of([b"a", b"b"], [None, None], [at, 1_000])
    assert metadata.timestamps == (NO_TIMESTAMP, 1_000)
    sent = Envelope("signpost", Origin("source", 0), (segment_of(1, 2, metadata=metadata),))
    assert Envelope.decode(sent.encode()) == sent


@pytest.mark.parametrize("timestamps", [[2**62 - 1], [2**53 - 1, 0, 1], [0, 2**62, 0], [-(2**53) + 1, 0, -1]])
def test_timestamps_that_could_not_be_written_again_are_not_read(timestamps: list[int]) -> None:
    header = {
        "metroline": 2,
        "strategy": "signpost",
        "origin": ["source", 0],
        "segments": [{"ids": [1, 2], "entered": 1.0, "hops": 1, "timestamps": timestamps}],
    }
    with pytest.raises(MalformedEnvelope):
        Envelope.decode(orjson.dumps(header) + b"\n{}\n{}")
