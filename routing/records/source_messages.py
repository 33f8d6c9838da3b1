"""Source messages: the lines of a raw message that are records, and those that are not."""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import chain
from types import NoneType
from typing import Any, NamedTuple, cast

import orjson

from metroline.routing.errors import MalformedRecord
from metroline.routing.records.field_reader import FieldReader
from metroline.routing.records.fingerprints import MAX_INTEGER, MIN_INTEGER

SHAPES = bytes.maketrans(b"0123456789+E,]} \t\r\n", b"00000000000e       ")
"""Makes numbers alike: digits and a plus become 0, E becomes e, and whatever may follow a number a space."""

LONG_NUMBER = b"0" * 19
LARGE_EXPONENT = re.compile(rb"e000+ ")
NUMBER = re.compile(rb"(-?[0-9]+)(\.[0-9]+)?([eE][+-]?[0-9]+)?")
STRING = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"')
DEEP = 200
"""Brackets from which on a record may be nested more deeply than orjson writes, which reads deeper ones."""


BETWEEN_BRACKETS = bytes(set(range(256)) - set(b"{[\n"))
"""All that is left out of lines when only their brackets are counted."""


class SourceLine(NamedTuple):
    """One line of a source message: a record with the JSON line that it travels as, or why it is none."""

    line: bytes
    record: dict[str, Any] | None
    problem: str | None = None


def read_message(value: bytes | None) -> list[SourceLine]:
    """The lines of a source message: a value that is one JSON object is one record, otherwise each non-blank line is.

    A line that is no JSON object, an empty value, or a number that JSON in Python would change gives a `problem`.
    """
    body = (value or b"").strip()
    if not body:
        return [SourceLine(value or b"", None, "the message is empty")]
    if b"\n" not in body:
        return [_read_line(body)]
    if not _is_object(body):
        return [_read_line(line) for line in body.split(b"\n") if line.strip()]
    whole = _read_line(body)
    return [whole if whole.record is None else SourceLine(orjson.dumps(whole.record), whole.record)]


class Plain(NamedTuple):
    """Source messages whose lines are records, one and all: their lines, how many each has, and what was read."""

    lines: Sequence[bytes]
    counts: Sequence[int] | None
    """None where each message is one line."""
    records: list[dict[str, Any]]


def read_plain(values: Sequence[bytes | None], reader: FieldReader) -> Plain | None:
    """What `reader` reads of many messages at once that hold one record on each line, as nearly all do.

    None where one of them needs a closer look by `read_message`, which takes all that passes here too.
    """
    if None in values:
        return None
    lines, counts = cast("Sequence[bytes]", values), None
    if b"\n" in b"".join(lines):
        parts = [value.strip().split(b"\n") for value in lines]
        lines, counts = list(chain.from_iterable(parts)), list(map(len, parts))
    body = b"\n".join(lines)
    if _has_odd_numbers(body) or _may_hold_deep(body):
        return None
    try:
        return Plain(lines, counts, reader.read_all(lines))
    except MalformedRecord:
        return None


def _has_odd_numbers(body: bytes) -> bool:
    """Whether there may be a number that is no 64-bit integer or too large for a float."""
    shapes = body.translate(SHAPES)
    return LONG_NUMBER in shapes or (b"0e0" in shapes and LARGE_EXPONENT.search(shapes) is not None)


def _may_hold_deep(body: bytes) -> bool:
    """Whether one of these lines may be nested too deeply; nearly always all of them together have few brackets."""
    brackets = len(body) * 2 - len(body.replace(b"{", b"")) - len(body.replace(b"[", b""))
    return brackets >= DEEP and max(map(len, body.translate(None, BETWEEN_BRACKETS).split(b"\n"))) >= DEEP


def _may_be_deep(line: bytes) -> bool:
    return line.count(b"{") + line.count(b"[") >= DEEP


def _is_object(body: bytes) -> bool:
    try:
        return type(orjson.loads(body)) is dict
    except orjson.JSONDecodeError:
        return False


def _read_line(line: bytes) -> SourceLine:
    try:
        record = orjson.loads(line)
    except orjson.JSONDecodeError as error:
        return SourceLine(line, None, f"no JSON: {error}")
    if type(record) is not dict:
        return SourceLine(line, None, f"no JSON object but {_kind(record)}")
    problem = _changed_integer(line) or _too_deep(line, record)
    return SourceLine(line, None if problem else record, problem)


def _changed_integer(line: bytes) -> str | None:
    """What is wrong where an integer outside of texts has more than 64 bits: orjson makes it a float."""
    if LONG_NUMBER not in line.translate(SHAPES):
        return None
    for integer, fraction, exponent in NUMBER.findall(STRING.sub(b'""', line)):
        if len(integer) < len(LONG_NUMBER) or fraction or exponent:
            continue
        if len(integer) > 40 or not MIN_INTEGER <= int(integer) <= MAX_INTEGER:
            return f"the integer {integer[:40].decode()}{'...' if len(integer) > 40 else ''} does not fit into 64 bits"
    return None


def _too_deep(line: bytes, record: dict[str, Any]) -> str | None:
    if not _may_be_deep(line):
        return None
    try:
        orjson.dumps(record)
    except orjson.JSONEncodeError as error:
        return f"it is nested too deeply: {error}"
    return None


def _kind(value: Any) -> str:
    return {list: "a list", str: "a text", NoneType: "null", bool: "true or false"}.get(type(value), "a number")
