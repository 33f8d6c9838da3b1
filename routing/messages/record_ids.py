"""Ids of records: where each one entered, exactly and without a counter."""

from __future__ import annotations

import operator
import re
from itertools import chain
from typing import Any, NamedTuple, cast

from metroline.routing.errors import MetrolineError, UsageError
from metroline.routing.messages.header_checks import natural
from metroline.routing.records.fingerprints import EXACT

ID = re.compile(r"(?P<name>.+)-(?P<partition>[0-9]+)-(?P<offset>[0-9]+)(\.(?P<index>[0-9]+))?")


MOST_IN_MESSAGE = 2**32
"""Records of one source message; each of them is marked in a bitmap of 32-bit numbers where it is settled."""


RecordId = int | tuple[int, int, int]
"""A record's id within its partition: the offset of its source message or, where that held several lines,
(offset, index in it, number of lines in it)."""


class Origin(NamedTuple):
    """Where records entered: the source's epoch or, for what is no envelope, the topic on which it was found."""

    name: str
    partition: int


def decode_ids(encoded: list[Any]) -> tuple[RecordId, ...]:
    """Ids of one kind, as they nearly always are, are looked at all at once."""
    kinds = set(map(type, encoded))
    if kinds == {int} and min(encoded) >= 0 and max(encoded) < EXACT:
        return tuple(encoded)
    if kinds == {list} and set(map(len, encoded)) == {3}:
        offsets, indexes, counts = zip(*encoded, strict=True)
        are_numbers = set(map(type, chain(offsets, indexes, counts))) == {int}
        are_natural = are_numbers and min((*offsets, *indexes)) >= 0 and max(offsets) < EXACT
        if are_natural and max(counts) <= MOST_IN_MESSAGE and all(map(operator.lt, indexes, counts)):
            return tuple(zip(offsets, indexes, counts, strict=True))
    return tuple([natural(one) if type(one) is int else _id(one) for one in encoded])


def _id(encoded: Any) -> RecordId:
    if not isinstance(encoded, list):
        raise MetrolineError(f"{encoded!r} is no record's id")
    offset, index, count = (natural(part) for part in encoded)
    if not index < count <= MOST_IN_MESSAGE:
        raise MetrolineError(f"record {index} of {count}")
    return (offset, index, count)


def id_of(name: str) -> tuple[Origin, int, int | None]:
    """What `id_text` says: origin, offset and, in a packed message, the place in it; raises `UsageError`."""
    found = ID.fullmatch(name)
    if found is None:
        raise UsageError(f"{name!r} is no record's id: it looks like source-0-17 or source-0-17.3")
    index = found["index"]
    return Origin(found["name"], int(found["partition"])), int(found["offset"]), None if index is None else int(index)


def id_text(origin: Origin, record: RecordId) -> str:
    """A record's id for a person: epoch or topic, partition, offset and, in a packed message, the place in it."""
    if type(record) is int:
        return f"{origin.name}-{origin.partition}-{record}"
    offset, index, _ = cast("tuple[int, int, int]", record)
    return f"{origin.name}-{origin.partition}-{offset}.{index}"
