"""Source messages: the lines of a raw message that are records, and those that are not."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from types import NoneType
from typing import Any

import orjson

DIGITS = bytes(48 if 48 <= byte <= 57 else 32 for byte in range(256))
LONG_NUMBER = b"0" * 19
INTEGER = re.compile(rb"-?[0-9]{19,}(?![0-9]*[.eE])")
STRINGS = re.compile(rb'"(?:\\.|[^"\\])*"')
MAX_INTEGER = 2**64 - 1
MIN_INTEGER = -(2**63)


@dataclass(frozen=True, slots=True)
class SourceLine:
    """One line of a source message: a record with the JSON line that it travels as, or why it is none."""

    line: bytes
    record: dict[str, Any] | None
    problem: str | None = None


def read_message(value: bytes | None) -> list[SourceLine]:
    """The lines of a source message: a value that is one JSON object is one record, otherwise each non-blank line is.

    A line that is no JSON object, an empty value, or a number that JSON in Python would change gives a `problem`.
    """
    if value is None or not value.strip():
        return [SourceLine(value or b"", None, "the message is empty")]
    if b"\n" not in value:
        return [_read_line(value)]
    whole = _read_line(value)
    if whole.record is not None:
        return [SourceLine(orjson.dumps(whole.record), whole.record)]
    return [_read_line(line) for line in value.split(b"\n") if line.strip()]


def _read_line(line: bytes) -> SourceLine:
    try:
        record = orjson.loads(line)
    except orjson.JSONDecodeError as error:
        return SourceLine(line, None, f"no JSON: {error}")
    if type(record) is not dict:
        return SourceLine(line, None, f"no JSON object but {_kind(record)}")
    if LONG_NUMBER in line.translate(DIGITS):
        for number in _long_integers(line):
            if not MIN_INTEGER <= number <= MAX_INTEGER:
                return SourceLine(line, None, f"the integer {number} does not fit into 64 bits")
    return SourceLine(line, record)


def _long_integers(line: bytes) -> Iterator[int]:
    """The integers of 19 and more digits that stand outside of texts; Python bounds their length itself."""
    for found in INTEGER.finditer(STRINGS.sub(b'""', line)):
        if len(found.group()) > 40:
            yield MAX_INTEGER + 1
        else:
            yield int(found.group())


def _kind(value: Any) -> str:
    return {list: "a list", str: "a text", NoneType: "null", bool: "true or false"}.get(type(value), "a number")

