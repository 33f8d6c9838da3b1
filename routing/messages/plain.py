"""Delivered records as plain Kafka messages, one each, as any other consumer reads them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import repeat
from typing import NamedTuple

from metroline.routing.messages.metadata import NO_TIMESTAMP, Headers, Metadata
from metroline.routing.messages.record_ids import Origin, id_text
from metroline.routing.messages.segment import Segment

ID_HEADER = "metroline-id"
"""The header with the id of the record, by which a consumer recognizes a copy."""

TOMBSTONE = b"null"
"""The line of a source message without a value, which says that its key is deleted. No record has this line."""

BY_KEY = -1
"""The partition of a message whose key decides to which partition it goes."""

NOTHING = Metadata()


class PlainMessage(NamedTuple):
    """A record as a message of its own."""

    value: bytes | None
    """None for a tombstone."""
    key: bytes | None
    partition: int
    timestamp: int
    """Milliseconds since the epoch; 0 for the time of the writing."""
    headers: list[tuple[str, str | bytes | None]]


def plain_messages(origin: Origin, segments: Iterable[Segment]) -> Iterator[PlainMessage]:
    """Yield a message for each record, with key, headers and timestamp of its source message and with its id.

    A record with a key goes to the partition that the key decides, and any other to that of its origin.
    """
    partition = origin.partition
    for segment in segments:
        metadata = segment.metadata or NOTHING
        keys, timestamps = metadata.keys or repeat(None), metadata.timestamps or repeat(NO_TIMESTAMP)
        all_headers = metadata.headers or repeat(None)
        for record, line, key, at, headers in zip(
            segment.ids, segment.lines, keys, timestamps, all_headers, strict=False
        ):
            own_id = (ID_HEADER, id_text(origin, record))
            yield PlainMessage(
                line if line != TOMBSTONE else None,
                key,
                partition if key is None else BY_KEY,
                at if at != NO_TIMESTAMP else 0,
                [own_id] if headers is None else [*_without_id(headers), own_id],
            )


def _without_id(headers: Headers) -> Headers:
    """Return headers without the id that another line gave to the record."""
    return tuple([header for header in headers if header[0] != ID_HEADER])
