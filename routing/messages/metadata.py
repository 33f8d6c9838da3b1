"""The metadata that records bring along from their source messages: keys, headers, timestamps and schemas.

In the header of an envelope, text is written as text, and other bytes as base64 in a list of one element. Headers that
records share are written once, as are schemas, and timestamps as differences. What no record has is not written at all.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterable, Sequence
from itertools import chain, repeat
from typing import Any, TypeVar, cast

from msgspec import Struct

from metroline.routing.errors import MetrolineError
from metroline.routing.messages.header_checks import text, text_or_none

Headers = tuple[tuple[str, bytes | None], ...]
"""The headers of a source message, in order; a name may come several times, and a value may be null."""

Values = tuple[Any, ...] | None
"""A value of each record, or None if no record has one."""

NO_TIMESTAMP = -1
"""The timestamp of a message that has none."""

MAX_TIMESTAMP = 2**53
"""Limit of timestamps, in milliseconds before and after the epoch. Kafka itself has no limit."""

Value = TypeVar("Value")


class Metadata(Struct, frozen=True):
    """The metadata of records, each field parallel to the ids of their segment, or None if no record has any."""

    keys: tuple[bytes | None, ...] | None = None
    headers: tuple[Headers | None, ...] | None = None
    """The headers of each record's source message; None for a message without headers."""
    timestamps: tuple[int, ...] | None = None
    """Milliseconds since the epoch."""
    schemas: tuple[str | None, ...] | None = None
    """The schemas of a schema registry that the messages name, as their format writes them."""

    @classmethod
    def of(
        cls,
        keys: Sequence[bytes | None],
        headers: Sequence[Sequence[tuple[str, bytes | None]] | None],
        timestamps: Sequence[int],
    ) -> Metadata:
        """Return the metadata of source messages. A timestamp beyond `MAX_TIMESTAMP` counts as none."""
        all_headers = tuple([tuple(own) if own else None for own in headers]) if any(headers) else None
        if not -MAX_TIMESTAMP < min(timestamps, default=0) <= max(timestamps, default=0) < MAX_TIMESTAMP:
            timestamps = [at if -MAX_TIMESTAMP < at < MAX_TIMESTAMP else NO_TIMESTAMP for at in timestamps]
        has_timestamps = timestamps.count(NO_TIMESTAMP) < len(timestamps)
        return cls(_if_any(keys), all_headers, tuple(timestamps) if has_timestamps else None)

    def part(self, indexes: Sequence[int]) -> Metadata:
        """Return the metadata of the records at these indexes."""
        return Metadata(
            _at(self.keys, indexes),
            _at(self.headers, indexes),
            _at(self.timestamps, indexes),
            _at(self.schemas, indexes),
        )

    def repeated(self, counts: Sequence[int]) -> Metadata:
        """Return the metadata with that of each source message repeated for each of its records."""
        return Metadata(
            _repeated(self.keys, counts),
            _repeated(self.headers, counts),
            _repeated(self.timestamps, counts),
            _repeated(self.schemas, counts),
        )

    def key_of(self, index: int) -> bytes | None:
        """Return the key of a record."""
        return None if self.keys is None else self.keys[index]

    def headers_of(self, index: int) -> Headers:
        """Return the headers of a record."""
        return (self.headers[index] or ()) if self.headers is not None else ()

    def timestamp_of(self, index: int) -> int:
        """Return the timestamp of a record, in milliseconds since the epoch; `NO_TIMESTAMP` without one."""
        return NO_TIMESTAMP if self.timestamps is None else self.timestamps[index]

    def sizes(self, count: int) -> Sequence[int] | None:
        """Return about how many bytes the keys and headers of each of `count` records take; None if there are none."""
        if self.keys is None and self.headers is None:
            return None
        keys = [len(key or b"") for key in self.keys] if self.keys is not None else [0] * count
        known = {own: _size(own) for own in set(self.headers or ())}
        headers = [known[own] for own in self.headers] if self.headers is not None else [0] * count
        return list(map(sum, zip(keys, headers, strict=True)))

    def encode(self) -> dict[str, Any]:
        """Return the metadata as JSON data, of which there is none if no record has any."""
        encoded: dict[str, Any] = {}
        if self.keys is not None:
            encoded["keys"] = _encode_values(self.keys)
        if self.headers is not None:
            distinct: dict[Headers | None, int] = {}
            places = [distinct.setdefault(own, len(distinct)) for own in self.headers]
            encoded["headers"] = ([_encode_headers(own) for own in distinct], places if len(distinct) > 1 else ())
        if self.timestamps is not None:
            first = self.timestamps[0]
            same = self.timestamps.count(first) == len(self.timestamps)
            encoded["timestamps"] = (first,) if same else (first, *map((-first).__add__, self.timestamps))
        if self.schemas is not None:
            names = list(dict.fromkeys(self.schemas))
            encoded["schemas"] = (names, list(map(names.index, self.schemas)) if len(names) > 1 else ())
        return encoded


def decode_metadata(encoded: dict[str, Any], count: int) -> Metadata | None:
    """Return the metadata of `count` records in the JSON data of a segment, or None if there is none.

    Raise `MetrolineError`, `LookupError`, `TypeError` or `ValueError` if the data is malformed.
    """
    keys, headers, timestamps = encoded.get("keys"), encoded.get("headers"), encoded.get("timestamps")
    schemas = encoded.get("schemas")
    if timestamps is None and keys is None and headers is None and schemas is None:
        return None
    return Metadata(
        None if keys is None else _counted(_decode_values(keys), count),
        None if headers is None else _counted(_decode_shared(headers, count, _decode_headers), count),
        None if timestamps is None else _counted(_decode_timestamps(timestamps, count), count),
        None if schemas is None else _counted(_decode_shared(schemas, count, text_or_none), count),
    )


def joined(parts: Sequence[tuple[Metadata | None, int]]) -> Metadata | None:
    """Return the metadata of the records of several segments, each given with the number of its records."""
    if all(metadata is None for metadata, _ in parts):
        return None
    return Metadata(
        _joined(parts, lambda metadata: metadata.keys, None),
        _joined(parts, lambda metadata: metadata.headers, None),
        _joined(parts, lambda metadata: metadata.timestamps, NO_TIMESTAMP),
        _joined(parts, lambda metadata: metadata.schemas, None),
    )


def _joined(parts: Sequence[tuple[Metadata | None, int]], of: Callable[[Metadata], Values], absent: Any) -> Values:
    values = [(None if metadata is None else of(metadata), count) for metadata, count in parts]
    if all(own is None for own, _ in values):
        return None
    return tuple(chain.from_iterable(repeat(absent, count) if own is None else own for own, count in values))


def _if_any(values: Sequence[Value | None]) -> tuple[Value | None, ...] | None:
    return None if values.count(None) == len(values) else tuple(values)


def _at(values: Values, indexes: Iterable[int]) -> Values:
    return None if values is None else tuple([values[index] for index in indexes])


def _repeated(values: Values, counts: Sequence[int]) -> Values:
    return None if values is None else tuple(chain.from_iterable(map(repeat, values, counts)))


def _counted(values: tuple[Value, ...], count: int) -> tuple[Value, ...]:
    if len(values) != count:
        raise MetrolineError(f"there is metadata of {len(values)} records for {count}")
    return values


def _size(headers: Headers | None) -> int:
    return sum(len(name) + len(value or b"") for name, value in headers or ())


def _encode_values(values: Sequence[bytes | None]) -> Sequence[str | tuple[str] | None]:
    try:
        return [cast(bytes, value).decode() for value in values]
    except (AttributeError, UnicodeDecodeError):
        return [_encode_value(value) for value in values]


def _encode_value(value: bytes | None) -> str | tuple[str] | None:
    if value is None:
        return None
    try:
        return value.decode()
    except UnicodeDecodeError:
        return (base64.b64encode(value).decode(),)


def _decode_values(encoded: Sequence[Any]) -> tuple[bytes | None, ...]:
    if set(map(type, encoded)) == {str}:
        return tuple([value.encode() for value in encoded])
    return tuple([_decode_value(value) for value in encoded])


def _decode_value(encoded: Any) -> bytes | None:
    if encoded is None:
        return None
    if type(encoded) is list:
        [encoded] = encoded
        return base64.b64decode(text(encoded), validate=True)
    return text(encoded).encode()


def _encode_headers(headers: Headers | None) -> Sequence[tuple[str, str | tuple[str] | None]] | None:
    return None if headers is None else [(name, _encode_value(value)) for name, value in headers]


def _decode_shared(encoded: Sequence[Sequence[Any]], count: int, decode: Callable[[Any], Value]) -> tuple[Value, ...]:
    """Return the value of each record, from distinct values and their places."""
    distinct, places = encoded
    values = list(map(decode, distinct))
    if not places:
        [only] = values
        return (only,) * count
    if set(map(type, places)) != {int} or min(places) < 0:
        raise MetrolineError("a segment has headers or schemas at no place")
    return tuple([values[place] for place in places])


def _decode_headers(encoded: Any) -> Headers | None:
    return None if encoded is None else tuple([(text(name), _decode_value(value)) for name, value in encoded])


def _decode_timestamps(encoded: Sequence[Any], count: int) -> tuple[int, ...]:
    if set(map(type, encoded)) != {int}:
        raise MetrolineError("the timestamps of a segment are not milliseconds since the epoch")
    first, *differences = encoded
    timestamps = tuple(map(first.__add__, differences)) if differences else (first,) * count
    if not -MAX_TIMESTAMP < min(timestamps) <= max(timestamps) < MAX_TIMESTAMP:
        raise MetrolineError("the timestamps of a segment are not milliseconds since the epoch")
    return timestamps
