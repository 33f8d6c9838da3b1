"""Reads messages in Protobuf's wire format (https://protobuf.dev/programming-guides/encoding/) by field number."""

from __future__ import annotations

import struct

Fields = dict[int, list[bytes | int]]
"""The values of each field of a message, in order: integers, or the bytes of texts, messages and doubles."""

VARINT, FIXED64, LENGTH = 0, 1, 2
"""The wire types that occur in a syntax tree."""


def read_fields(message: bytes) -> Fields:
    """Return the fields of a message."""
    fields: Fields = {}
    at = 0
    while at < len(message):
        tag, at = _varint(message, at)
        value: bytes | int
        if tag & 7 == VARINT:
            value, at = _varint(message, at)
        else:
            size, at = (8, at) if tag & 7 == FIXED64 else _varint(message, at)
            value, at = message[at : at + size], at + size
        fields.setdefault(tag >> 3, []).append(value)
    return fields


def _varint(message: bytes, at: int) -> tuple[int, int]:
    """Return the integer at an offset, and the offset behind it."""
    value = shift = 0
    while True:
        byte = message[at]
        value |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if byte < 0x80:
            return value, at


def number(fields: Fields, field: int) -> int:
    """Return an unsigned integer, which is 0 if the field is absent."""
    values = fields.get(field)
    return values[-1] if values and isinstance(values[-1], int) else 0


def signed(fields: Fields, field: int) -> int:
    """Return an integer of 64 bits in two's complement."""
    value = number(fields, field)
    return value - (1 << 64) if value >> 63 else value


def data(fields: Fields, field: int) -> bytes:
    """Return the bytes of a field, which are empty if it is absent."""
    values = fields.get(field)
    return values[-1] if values and isinstance(values[-1], bytes) else b""


def text(fields: Fields, field: int) -> str:
    """Return the text of a field, which is empty if it is absent."""
    return data(fields, field).decode()


def double(fields: Fields, field: int) -> float:
    """Return a floating-point number."""
    value: float = struct.unpack("<d", data(fields, field) or bytes(8))[0]
    return value


def messages(fields: Fields, field: int) -> list[Fields]:
    """Return the messages of a field."""
    return [read_fields(value) for value in fields.get(field, ()) if isinstance(value, bytes)]
