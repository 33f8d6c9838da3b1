"""The envelope: one message of the bus, with a header and one or more records that travel together (Envelope Wrapper).

Its wire format is JSON lines: the first line is the header, and each further line is one record. Data that records
share is written once: each segment in the header holds the history and the plan of a range of lines.
"""

from __future__ import annotations

import re
import reprlib
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain

import orjson
from msgspec import Struct
from msgspec.structs import replace

from metroline.routing.errors import MalformedEnvelope, MetrolineError
from metroline.routing.messages.header_checks import natural, text
from metroline.routing.messages.metadata import joined as joined_metadata
from metroline.routing.messages.record_ids import SEVERAL, Origin
from metroline.routing.messages.segment import Segment, decode_segments, encode_segment

FORMAT = 2
"""The version of the wire format that is written."""

READABLE = frozenset({1, FORMAT})
"""The versions of the wire format that are read: the current one and the one before it."""

MAX_ORIGIN_CHARACTERS = 300
"""Maximum number of characters of an origin's name, which is a part of the keys of tables."""

MAX_ERROR_CHARACTERS = 300
"""Maximum number of characters of a decoding error's text, which may repeat parts of the message."""


class Envelope(Struct, frozen=True):
    """Segments whose records come from one origin and travel under one strategy.

    In memory, an envelope may hold records of several partitions. It is divided before it is written to the bus.
    """

    strategy: str
    origin: Origin
    segments: tuple[Segment, ...]

    @property
    def partitions(self) -> set[int]:
        """The partitions in which the records entered."""
        return partitions_of(self.origin, self.segments)

    def by_partition(self) -> Iterator[Envelope]:
        """Yield an envelope for each of the partitions, with its records in order."""
        for origin, segments in by_partition(self.origin, self.segments):
            yield Envelope(self.strategy, origin, tuple(segments))

    def __len__(self) -> int:
        return sum(len(segment.ids) for segment in self.segments)

    def unwritten(self) -> Envelope:
        """Return the envelope as it goes on without being written to the bus: its last hop is not counted."""
        return self._with_hops(-1)

    def written(self) -> Envelope:
        """Return the envelope as it is written to the bus after all: the opposite of `unwritten`."""
        return self._with_hops(1)

    def _with_hops(self, more: int) -> Envelope:
        segments = tuple([replace(segment, hops=segment.hops + more) for segment in self.segments])
        return Envelope(self.strategy, self.origin, segments)

    def encode(self) -> bytes:
        """Return the value of the message."""
        header = {
            "metroline": FORMAT,
            "strategy": self.strategy,
            "origin": tuple(self.origin),
            "segments": [encode_segment(segment) for segment in self.segments],
        }
        lines = [orjson.dumps(header)]
        for segment in self.segments:
            lines.extend(segment.lines)
        return b"\n".join(lines)

    @classmethod
    def decode(cls, raw: bytes, partition: int | None = None) -> Envelope:
        """Return the envelope in the value of a message; raise `MalformedEnvelope`, which holds the bytes.

        `partition`, if given, is the partition of the message, which must be that of the envelope's origin.
        """
        try:
            head, *lines = raw.split(b"\n")
            header = orjson.loads(head)
            if natural(header["metroline"]) not in READABLE:
                raise MetrolineError(f"its format is {header['metroline']}; this worker reads up to {FORMAT}")
            origin = header["origin"]
            if "/" in origin[0] or len(origin[0]) > MAX_ORIGIN_CHARACTERS:
                raise MetrolineError(f"{reprlib.repr(origin[0])} is not an origin")
            if partition is not None and origin[1] != partition:
                raise MetrolineError(f"its origin is partition {origin[1]}, but it was found in partition {partition}")
            envelope = cls(
                text(header["strategy"]),
                Origin(text(origin[0]), natural(origin[1])),
                tuple(decode_segments(header["segments"], lines)),
            )
        except MetrolineError as error:
            raise MalformedEnvelope(f"not an envelope: {error}", raw) from error
        except (LookupError, TypeError, ValueError, AttributeError, RecursionError) as error:
            text_of_error = f"not an envelope: {type(error).__name__}: {error}"[:MAX_ERROR_CHARACTERS]
            raise MalformedEnvelope(text_of_error, raw) from error
        return envelope


HEAD, SEGMENTS = b'{"metroline":', b'"segments":'

FORMAT_OF = re.compile(rb'\{"metroline":([0-9]{1,9}),')
"""The beginning of every envelope, of whatever format."""


def may_hold_packed(values: Iterable[bytes | None]) -> bool:
    """Return False if none of many source messages is an envelope."""
    return any(value is not None and value.startswith(HEAD) for value in values)


def is_packed(raw: bytes | None) -> bool:
    """Return whether the value of a source message is an envelope, as another line delivers it, or looks like one."""
    return raw is not None and raw.startswith(HEAD) and SEGMENTS in raw.partition(b"\n")[0]


def is_newer(raw: bytes | None) -> bool:
    """Return whether the value of a message is an envelope in the next format, which only a newer version reads.

    Two formats are in use at most at a time. What only looks like such an envelope is none, so that it does not stop a
    partition.
    """
    found = None if raw is None else FORMAT_OF.match(raw)
    if raw is None or found is None or int(found[1]) != FORMAT + 1 or not is_packed(raw):
        return False
    try:
        header = orjson.loads(raw.partition(b"\n")[0])
        name, partition = header["origin"]
        text(header["strategy"]), text(name), natural(partition)
        segments = header["segments"]
        return "/" not in name and bool(segments) and all(type(segment) is dict for segment in segments)
    except (LookupError, TypeError, ValueError, MetrolineError):
        return False


def pack(
    strategy: str, origin: Origin, segments: Iterable[Segment], max_bytes: int, max_records: int
) -> Iterator[Envelope]:
    """Yield envelopes with the segments that go to one address, as few as the limits allow.

    An envelope holds at most `max_bytes` bytes and `max_records` records, except that a single record may be larger.
    """
    held: list[Segment] = []
    size = count = 0
    for segment in segments:
        for part, part_size in _split(segment, max_bytes, max_records):
            if held and (size + part_size > max_bytes or count + len(part.ids) > max_records):
                yield Envelope(strategy, origin, tuple(held))
                held, size, count = [], 0, 0
            held.append(part)
            size += part_size
            count += len(part.ids)
    if held:
        yield Envelope(strategy, origin, tuple(held))


def fitting(envelope: Envelope, max_bytes: int) -> Iterator[tuple[Envelope, bytes]]:
    """Yield envelopes with the records of one, each with its encoding, which has at most `max_bytes` bytes.

    Only that of a single record may be larger.
    """
    value = envelope.encode()
    if len(value) <= max_bytes or len(envelope) == 1:
        yield envelope, value
        return
    for part in halves(envelope, max_bytes):
        yield from fitting(part, max_bytes)


def halves(envelope: Envelope, max_bytes: int) -> Iterator[Envelope]:
    """Yield envelopes with at most half of the records of one each, and at most `max_bytes` bytes of records."""
    half = (len(envelope) + 1) // 2
    return pack(envelope.strategy, envelope.origin, envelope.segments, max_bytes, half)


def join(envelopes: Sequence[Envelope]) -> Envelope:
    """Return one envelope with the segments of envelopes that have the same strategy and name of the origin.

    If they have several partitions, segments that differ in nothing but their records become one. Records of a
    partition stay in order.
    """
    strategy, origin = envelopes[0].strategy, envelopes[0].origin
    if all(envelope.origin == origin for envelope in envelopes):
        return Envelope(strategy, origin, tuple(segment for envelope in envelopes for segment in envelope.segments))
    joined: list[list[tuple[int, Segment]]] = []
    places: dict[tuple[Segment, type], int] = {}
    latest: dict[int, int] = {}
    for envelope in envelopes:
        partition = envelope.origin.partition
        for segment in envelope.segments:
            past = replace(segment, ids=(), lines=(), metadata=None)
            key = past, type(segment.request)  # requests of two kinds may be equal
            place = places.get(key, -1)
            if place < latest.get(partition, 0):  # none, or others of the partition follow it
                place = places[key] = len(joined)
                joined.append([])
            joined[place].append((partition, segment))
            latest[partition] = place
    return Envelope(strategy, Origin(origin.name, SEVERAL), tuple(map(_as_one, joined)))


def _as_one(parts: Sequence[tuple[int, Segment]]) -> Segment:
    """Return a segment with the records of segments that differ in nothing else, each given with its partition."""
    return replace(
        parts[0][1],
        ids=tuple(chain.from_iterable(segment.ids for _, segment in parts)),
        lines=tuple(chain.from_iterable(segment.lines for _, segment in parts)),
        partitions=tuple(partition for partition, segment in parts for _ in segment.ids),
        metadata=joined_metadata([(segment.metadata, len(segment.ids)) for _, segment in parts]),
    )


def partitions_of(origin: Origin, segments: Iterable[Segment]) -> set[int]:
    """Return the partitions in which the records of segments entered."""
    if origin.partition != SEVERAL:
        return {origin.partition}
    return {partition for segment in segments for partition in set(segment.partitions or ())}


def by_partition(origin: Origin, segments: Sequence[Segment]) -> Iterator[tuple[Origin, Sequence[Segment]]]:
    """Yield for each partition its origin and the segments of its records, in order."""
    if origin.partition != SEVERAL:
        yield origin, segments
        return
    parts: dict[int, list[Segment]] = {}
    for segment in segments:
        for partition, part in segment.by_partition():
            parts.setdefault(partition, []).append(part)
    for partition, own in parts.items():
        yield Origin(origin.name, partition), own


def _split(segment: Segment, max_bytes: int, max_records: int) -> Iterator[tuple[Segment, int]]:
    """Yield parts of a segment that fit into an envelope, each with its size in bytes."""
    whole = segment.size()
    if len(segment.ids) <= max_records and whole <= max_bytes:
        yield segment, whole
        return
    first, size = 0, 0
    for place, own in enumerate(segment.sizes()):
        if place > first and (size + own > max_bytes or place - first >= max_records):
            yield segment.part(range(first, place)), size
            first, size = place, 0
        size += own
    yield segment.part(range(first, len(segment.lines))), size
