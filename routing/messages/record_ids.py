"""Ids of records. An id is the place at which the record entered, so no counter is needed."""

from __future__ import annotations

import operator
import re
from itertools import chain
from typing import Any, NamedTuple, cast

from metroline.routing.errors import MetrolineError, UsageError
from metroline.routing.messages.header_checks import natural
from metroline.routing.records.fingerprints import EXACT

ID = re.compile(r"(?P<name>.+)-(?P<partition>[0-9]{1,10})-(?P<offset>[0-9]{1,19})(\.(?P<index>[0-9]{1,10}))?")
"""The text of an id. Its numbers are those of Kafka: no more digits than 32 and 64 bits have."""

MAX_SHOWN = 200
"""Maximum number of characters of a text that is no id in the error that says so."""


MAX_RECORDS_IN_MESSAGE = 2**32
"""Maximum number of records in one source message: settlement marks each in a bitmap of 32-bit integers."""


RecordId = int | tuple[int, int, int]
"""The id of a record within its partition: the offset of its source message or, if the message had several lines,
(offset, index of the line, number of lines)."""


SEVERAL = -1
"""The partition of an origin that stands for several partitions."""


class Origin(NamedTuple):
    """The partition in which records entered, and a name: the source's epoch or, for a malformed message, its topic."""

    name: str
    partition: int
    """The number of the partition; `SEVERAL` for records that go on together in memory (see `Segment.partitions`)."""


def decode_ids(encoded: list[Any]) -> tuple[RecordId, ...]:
    """Return the ids in JSON data; raise `MetrolineError`, `TypeError` or `ValueError` if one is not an id.

    Ids of one kind, which is the usual case, are checked together.
    """
    kinds = set(map(type, encoded))
    if kinds == {int} and min(encoded) >= 0 and max(encoded) < EXACT:
        return tuple(encoded)
    if kinds == {list} and set(map(len, encoded)) == {3}:
        offsets, indexes, counts = zip(*encoded, strict=True)
        are_numbers = set(map(type, chain(offsets, indexes, counts))) == {int}
        are_natural = are_numbers and min((*offsets, *indexes)) >= 0 and max(offsets) < EXACT
        if are_natural and max(counts) <= MAX_RECORDS_IN_MESSAGE and all(map(operator.lt, indexes, counts)):
            return tuple(zip(offsets, indexes, counts, strict=True))
    return tuple([natural(one) if type(one) is int else _id(one) for one in encoded])


def _id(encoded: Any) -> RecordId:
    if not isinstance(encoded, list):
        raise MetrolineError(f"{encoded!r} is not the id of a record")
    offset, index, count = (natural(part) for part in encoded)
    if not index < count <= MAX_RECORDS_IN_MESSAGE:
        raise MetrolineError(f"a message with {count} records cannot have a record with the index {index}")
    return (offset, index, count)


def id_of(name: str) -> tuple[Origin, int, int | None]:
    """Parse the result of `id_text`; return the origin, the offset, and the index if the message had several lines.

    Raise `UsageError` if `name` is not the id of a record.
    """
    found = ID.fullmatch(name)
    if found is None:
        raise UsageError(
            f"{name[:MAX_SHOWN]!r} is not the id of a record, which looks like source-0-17 or source-0-17.3"
        )
    index = found["index"]
    return Origin(found["name"], int(found["partition"])), int(found["offset"]), None if index is None else int(index)


def id_text(origin: Origin, record: RecordId) -> str:
    """Return the id of a record as people read it.

    It consists of the origin's name, the partition, the offset and, if the message had several lines, the index.
    """
    if type(record) is int:
        return f"{origin.name}-{origin.partition}-{record}"
    offset, index, _ = cast("tuple[int, int, int]", record)
    return f"{origin.name}-{origin.partition}-{offset}.{index}"
