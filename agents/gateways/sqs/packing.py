"""Packs records into messages of SQS, and messages into calls, so that as little as possible is billed."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from hashlib import sha256
from typing import Any, NamedTuple

import orjson

from metroline.agents.gateways.sqs.batches import MOST
from metroline.agents.gateways.sqs.client import CHUNK_BYTES

CALL_BYTES = 4 * CHUNK_BYTES
"""Bytes of messages in a call, unless one message alone has more: every server takes these."""

ID_ATTRIBUTE = "metroline-id"
"""The message attribute with the ids of the records, with commas between several."""

LINE_ATTRIBUTE = "metroline-prefix"
"""The message attribute with the line's PREFIX, which tells its ids from those of other lines."""

ATTRIBUTE_BYTES = len(ID_ATTRIBUTE) + len(LINE_ATTRIBUTE) + 2 * len("String")


NONCHARACTERS = ("\ufffe", "\uffff")
"""The characters that no message may have, of those that JSON has unescaped."""


def line_text(record: dict[str, Any]) -> bytes:
    """Return a record as JSON that SQS takes: characters that no message may have are escaped."""
    text = orjson.dumps(record)
    for character in NONCHARACTERS:
        text = text.replace(character.encode(), f"\\u{ord(character):x}".encode())
    return text


class Line(NamedTuple):
    """A record as it is sent."""

    text: bytes
    id: str
    group: str | None
    """The message group, in a FIFO queue."""
    prefix: str = ""
    """The PREFIX of the line that sends the record. All records of a pack have the same."""


class Packed(NamedTuple):
    """A message with one or more records."""

    body: bytes
    ids: str
    group: str | None
    places: tuple[int, ...]
    """The indexes of the records."""
    prefix: str = ""

    @property
    def size(self) -> int:
        """The bytes that are billed: body and attributes."""
        return len(self.body) + ATTRIBUTE_BYTES + len(self.ids) + len(self.prefix)

    @property
    def deduplication_id(self) -> str:
        """A text by which a FIFO queue recognizes these records when they are sent again."""
        return sha256(f"{self.prefix}:{self.ids}".encode()).hexdigest()

    def halves(self) -> tuple[Packed, Packed]:
        """Return two messages, with the first and the second half of at least two records."""
        lines, ids, middle = self.body.split(b"\n"), self.ids.split(","), len(self.places) // 2
        first, second = (
            Packed(b"\n".join(lines[part]), ",".join(ids[part]), self.group, self.places[part], self.prefix)
            for part in (slice(middle), slice(middle, None))
        )
        return first, second


def packed(lines: Iterable[Line], *, several: bool, most: int = CHUNK_BYTES) -> list[Packed]:
    """Return messages for records, in their order within each group.

    With `several`, a message holds as many records of a group as fit into a chunk, one a line. Records never share a
    message that would be larger than a chunk: 51 records of 1,300 bytes would cost two chunks instead of one. Nor do
    they share one of more than `most` bytes.
    """
    most = min(most, CHUNK_BYTES)
    found: list[Packed] = []
    open_messages: dict[str | None, int] = {}
    for place, line in enumerate(lines):
        alone = Packed(line.text, line.id, line.group, (place,), line.prefix)
        at = open_messages.get(line.group) if several else None
        if at is not None:
            before = found[at]
            if before.size + len(line.text) + len(line.id) + 2 <= most:
                body, ids = before.body + b"\n" + line.text, f"{before.ids},{line.id}"
                found[at] = Packed(body, ids, line.group, (*before.places, place), line.prefix)
                continue
        open_messages[line.group] = len(found)
        found.append(alone)
    return found


def calls(messages: Sequence[Packed]) -> Iterator[list[Packed]]:
    """Yield the messages of each call: ten at most, and no more bytes than a call may have."""
    call: list[Packed] = []
    size = 0
    for message in messages:
        if call and (len(call) == MOST or size + message.size > CALL_BYTES):
            yield call
            call, size = [], 0
        call.append(message)
        size += message.size
    if call:
        yield call


def rounds(messages: Iterable[Packed]) -> Iterator[list[Packed]]:
    """Yield messages of a FIFO queue in rounds, each with the next message of every group."""
    by_group: dict[str | None, list[Packed]] = {}
    for message in messages:
        by_group.setdefault(message.group, []).append(message)
    for number in range(max(map(len, by_group.values()), default=0)):
        yield [of_group[number] for of_group in by_group.values() if number < len(of_group)]
