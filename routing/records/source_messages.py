"""Reads source messages, whose lines are records or are reported with the reason why they are not."""

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
from metroline.routing.records.not_json import binary_problem, json_problem

NO_VALUE = "the message has no value (a tombstone)"

SHAPES = bytes.maketrans(b"0123456789+E,]} \t\r\n", b"00000000000e       ")
"""Normalizes numbers: digits and `+` become 0, `E` becomes e, and every byte that may follow a number a space."""

LONG_NUMBER = b"0" * 19
LARGE_EXPONENT = re.compile(rb"e000+ ")
NUMBER = re.compile(rb"(-?[0-9]+)(\.[0-9]+)?([eE][+-]?[0-9]+)?")
STRING = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"')
MIN_DEEP_BRACKETS = 200
"""Number of opening brackets from which on a record may be nested too deeply: orjson reads deeper than it writes."""


BETWEEN_BRACKETS = bytes(set(range(256)) - set(b"{[\n"))
"""All bytes but opening brackets and newlines; they are deleted to count the brackets of each line."""


class SourceLine(NamedTuple):
    """One line of a source message: a record with its JSON line, or a line with the `problem` that makes it none."""

    line: bytes
    record: dict[str, Any] | None
    problem: str | None = None


def read_message(value: bytes | None) -> list[SourceLine]:
    """Return the lines of a source message.

    A value that is one JSON object is one record, even over several lines. Otherwise each line that is not blank is
    one record. A line has a `problem` if it is not a JSON object, holds an integer of more than 64 bits, or is nested
    too deeply; an empty value has one, too.
    """
    body = (value or b"").strip()
    if not body:
        return [SourceLine(value or b"", None, NO_VALUE if value is None else "the message is empty")]
    binary = None if value is None else binary_problem(value)
    if binary is not None:
        return [SourceLine(value or b"", None, binary)]
    if b"\n" not in body:
        return [_read_line(body)]
    if not _is_object(body):
        return [_read_line(line) for line in body.split(b"\n") if line.strip()]
    whole = _read_line(body)
    return [whole if whole.record is None else SourceLine(orjson.dumps(whole.record), whole.record)]


class Plain(NamedTuple):
    """Source messages whose lines are all records."""

    lines: Sequence[bytes]
    counts: Sequence[int] | None
    """Number of lines of each message; None if every message has one."""
    records: list[dict[str, Any]]
    """For each line the fields that were read."""


def read_plain(values: Sequence[bytes | None], reader: FieldReader) -> Plain | None:
    """Read many messages at once that hold one record per line, as nearly all messages do.

    Return None if any of them has to be read by `read_message`, which accepts every message that is accepted here.
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
    """Return whether there may be an integer of more than 64 bits or a number that is too large for a float."""
    shapes = body.translate(SHAPES)
    return LONG_NUMBER in shapes or (b"0e0" in shapes and LARGE_EXPONENT.search(shapes) is not None)


def _may_hold_deep(body: bytes) -> bool:
    """Return whether a line may be nested too deeply; usually the brackets of all lines together are few."""
    brackets = len(body) * 2 - len(body.replace(b"{", b"")) - len(body.replace(b"[", b""))
    if brackets < MIN_DEEP_BRACKETS:
        return False
    return max(map(len, body.translate(None, BETWEEN_BRACKETS).split(b"\n"))) >= MIN_DEEP_BRACKETS


def _may_be_deep(line: bytes) -> bool:
    return line.count(b"{") + line.count(b"[") >= MIN_DEEP_BRACKETS


def _is_object(body: bytes) -> bool:
    try:
        return type(orjson.loads(body)) is dict
    except orjson.JSONDecodeError:
        return False


def _read_line(line: bytes) -> SourceLine:
    try:
        record = orjson.loads(line)
    except orjson.JSONDecodeError as error:
        return SourceLine(line, None, json_problem(line, error))
    if type(record) is not dict:
        return SourceLine(line, None, f"not a JSON object but {_kind(record)}")
    problem = _changed_integer(line) or _too_deep(line, record)
    return SourceLine(line, None if problem else record, problem)


def _changed_integer(line: bytes) -> str | None:
    """Return the problem of an integer of more than 64 bits, which orjson would turn into a float; None without one."""
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
        return f"the record is nested too deeply: {error}"
    return None


def _kind(value: Any) -> str:
    return {list: "a list", str: "a string", NoneType: "null", bool: "true or false"}.get(type(value), "a number")
