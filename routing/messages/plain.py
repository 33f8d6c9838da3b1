"""Delivered records as plain Kafka messages, one each, as any other consumer reads them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache
from itertools import repeat
from typing import Any, NamedTuple

import orjson

from metroline.routing.messages.metadata import NO_TIMESTAMP, Headers, Metadata
from metroline.routing.messages.record_ids import Origin, RecordId, id_text
from metroline.routing.messages.segment import Segment
from metroline.routing.records.field_reader import FieldReader

ID_HEADER = "metroline-id"
"""The header with the id of the record, by which a consumer recognizes a copy."""

TOMBSTONE = b"null"
"""The line of a source message without a value, which says that its key is deleted. No record has this line."""

BY_KEY = -1
"""The partition of a message whose key decides to which partition it goes."""

NOTHING = Metadata()

Written = Mapping[tuple[int, RecordId], bytes]
"""The values of delivered records in the format of their end, by generation and id."""


class PlainMessage(NamedTuple):
    """A record as a message of its own."""

    value: bytes | None
    """None for a tombstone."""
    key: bytes | None
    partition: int
    timestamp: int
    """Milliseconds since the epoch; 0 for the time of the writing."""
    headers: list[tuple[str, str | bytes | None]]


def plain_messages(
    origin: Origin, segments: Iterable[Segment], partition: int, key: str | None = None, written: Written | None = None
) -> Iterator[PlainMessage]:
    """Yield a message for each record, with headers and timestamp of its source message and with its id.

    Its key is the value of the field `key` or, if that is None, the key of its source message. A record with a key
    goes to the partition that the key decides, and any other to `partition`. The values are `written`; None for JSON.
    Tombstones have none.
    """
    for segment in segments:
        metadata = segment.metadata or NOTHING
        keys = metadata.keys if key is None else record_keys(segment, key)
        timestamps = metadata.timestamps or repeat(NO_TIMESTAMP)
        all_headers = metadata.headers or repeat(None)
        lines: Iterable[bytes] = segment.lines
        if written is not None:
            of_each = zip(segment.ids, segment.lines, strict=True)
            lines = [written.get((segment.generation, record), line) for record, line in of_each]
        for record, line, own_key, at, headers in zip(
            segment.ids, lines, keys or repeat(None), timestamps, all_headers, strict=False
        ):
            own_id = (ID_HEADER, id_text(origin, record))
            yield PlainMessage(
                line if line != TOMBSTONE else None,
                own_key,
                partition if own_key is None else BY_KEY,
                at if at != NO_TIMESTAMP else 0,
                [own_id] if headers is None else [*_without_id(headers), own_id],
            )


def record_keys(segment: Segment, field: str) -> list[bytes | None]:
    """Return the value of a top-level field of each record as a key: text as it is, anything else as JSON.

    A record in which it is null or absent has None. A tombstone has the key of its source message. Raise
    `MalformedRecord` if a line is no record.
    """
    reader = _reader(field)
    if TOMBSTONE not in segment.lines:
        return [_as_key(found.get(field)) for found in reader.read_all(segment.lines)]
    metadata = segment.metadata or NOTHING
    return [
        metadata.key_of(place) if line == TOMBSTONE else _as_key(reader.read(line).get(field))
        for place, line in enumerate(segment.lines)
    ]


@lru_cache(maxsize=64)
def _reader(field: str) -> FieldReader:
    return FieldReader(frozenset({field}))


def _as_key(value: Any) -> bytes | None:
    if value is None:
        return None
    return value.encode() if isinstance(value, str) else orjson.dumps(value)


def _without_id(headers: Headers) -> Headers:
    """Return headers without the id that another line gave to the record."""
    return tuple([header for header in headers if header[0] != ID_HEADER])
