"""Confluent's wire format: a zero byte, the id of the schema in four bytes, and the data.

Protobuf data follows the indexes of its message type in the schema: their number and each of them as a zigzag varint,
or a single zero for the first message of the schema.
"""

from __future__ import annotations

from collections.abc import Sequence

from metroline.agents.formats.codec import NotReadable

HEADER_BYTES = 5
MAX_ID = 2**32 - 1
MAX_VARINT_BYTES = 5

FIRST_MESSAGE = (0,)
"""The indexes of the first message type of a schema."""


def schema_id(value: bytes) -> int:
    """Return the id of the schema of a message; raise `NotReadable`."""
    if len(value) < HEADER_BYTES or value[0]:
        what = f"it begins with {value[:1].hex()}" if value else "the message is empty"
        if value and not value[0]:
            what = f"it has {len(value)} bytes"
        raise NotReadable(f"not in the wire format of a schema registry (a zero byte and a schema id): {what}")
    return int.from_bytes(value[1:HEADER_BYTES], "big")


def header(identity: int) -> bytes:
    """Return the bytes with which a message of a schema begins."""
    return b"\0" + identity.to_bytes(4, "big")


def read_indexes(value: bytes) -> tuple[tuple[int, ...], int]:
    """Return the indexes of the Protobuf message type and the offset of the data; raise `NotReadable`."""
    count, at = _read_varint(value, HEADER_BYTES)
    if count == 0:
        return FIRST_MESSAGE, at
    if not 0 < count <= len(value):
        raise NotReadable(f"there cannot be {count} message indexes")
    indexes = []
    for _ in range(count):
        index, at = _read_varint(value, at)
        indexes.append(index)
    return tuple(indexes), at


def write_indexes(indexes: Sequence[int]) -> bytes:
    """Return the bytes of the indexes of a Protobuf message type."""
    if tuple(indexes) == FIRST_MESSAGE:
        return b"\0"
    return b"".join(map(_varint, [len(indexes), *indexes]))


def schema_text(identity: int, indexes: Sequence[int] = FIRST_MESSAGE) -> str:
    """Return a schema as it travels with a record: its id, and the message indexes unless they are those of the first.

    For example `17` or `17:2.0`.
    """
    return str(identity) if tuple(indexes) == FIRST_MESSAGE else f"{identity}:{'.'.join(map(str, indexes))}"


def parse_schema_text(text: str) -> tuple[int, tuple[int, ...]]:
    """Return the id and the message indexes in the result of `schema_text`; raise ValueError."""
    identity, _, indexes = text.partition(":")
    return int(identity), tuple(map(int, indexes.split("."))) if indexes else FIRST_MESSAGE


def _read_varint(value: bytes, at: int) -> tuple[int, int]:
    """Return the zigzag varint at an offset, and the offset after it."""
    number = 0
    for place, byte in enumerate(value[at : at + MAX_VARINT_BYTES]):
        number |= (byte & 0x7F) << (7 * place)
        if byte < 0x80:
            return (number >> 1) ^ -(number & 1), at + place + 1
    raise NotReadable("its message indexes are cut off")


def _varint(number: int) -> bytes:
    rest, encoded = number << 1, bytearray()
    while rest > 0x7F:
        encoded.append(rest & 0x7F | 0x80)
        rest >>= 7
    encoded.append(rest)
    return bytes(encoded)
