"""Says what bytes are that are no JSON, so that dead letters with different remedies have different reasons."""

from __future__ import annotations

import re

import orjson

NO_VALUES = re.compile(r"-?(?:NaN|Infinity|nan|inf|None|True|False|undefined)\b")
"""Values that other notations have in place of numbers, null, true and false."""

MAGIC = {
    b"\x1f\x8b": "it is compressed with gzip",
    b"Obj\x01": "it is an Avro file, not an Avro message",
    b"\xff\xfe": "it is text in UTF-16, not in UTF-8",
    b"\xfe\xff": "it is text in UTF-16, not in UTF-8",
    b"PK\x03\x04": "it is a zip archive",
}
"""Beginnings of bytes that are no text in UTF-8."""

WIRE_HEADER_BYTES = 5
"""Bytes of the header of Confluent's wire format: a zero, and the id of the schema in four bytes."""


def binary_problem(value: bytes) -> str | None:
    """Return what a message is that must not be taken apart into lines; None if it may be text."""
    if value[:1] == b"\0" and len(value) >= WIRE_HEADER_BYTES:
        schema = int.from_bytes(value[1:WIRE_HEADER_BYTES], "big")
        return f"not JSON: it looks like Confluent's wire format (schema {schema}); see SOURCE_FORMAT"
    return next((f"not JSON: {what}" for magic, what in MAGIC.items() if value.startswith(magic)), None)


def json_problem(line: bytes, error: orjson.JSONDecodeError) -> str:
    """Return why a line is not valid JSON."""
    text = line.decode(errors="replace")
    for start in (error.pos - 1, error.pos):
        found = NO_VALUES.match(text, max(0, start))
        if found is not None:
            return f"not valid JSON: {found[0]} is no value in JSON: line {error.lineno} column {error.colno}"
    return f"not valid JSON: {error}"
