"""Reads some fields of records out of their JSON lines, without building the rest of them."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any, TypedDict, cast

import msgspec
import orjson

from metroline.routing.errors import MalformedRecord
from metroline.routing.records.field_sets import FieldSet

PLAIN_NAME = re.compile(r"[ !#-\[\]-~]+")
"""The names that msgspec tells apart in a TypedDict: for 'é' it takes the field of no name."""

BEGINS, ENDS = {ord("{")}, {ord("}")}

FAULTS = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)


class FieldReader:
    """Reads the top-level fields that decisions look at; a line costs about a sixth of reading it whole."""

    def __init__(self, reads: FieldSet) -> None:
        self.reads = reads
        self.is_blind = reads == frozenset()
        """Whether it reads nothing: then every record is alike to whoever decides."""
        self._decoder: msgspec.json.Decoder[Any] | None = None
        if reads is not None and all(map(PLAIN_NAME.fullmatch, reads)):
            wanted = cast("Callable[..., Any]", TypedDict)("Wanted", dict.fromkeys(reads, Any), total=False)
            self._decoder = msgspec.json.Decoder(wanted)

    def read(self, line: bytes) -> dict[str, Any]:
        """The fields that are there; the whole record where decisions look at that. Raises `MalformedRecord`."""
        if self._decoder is None:
            record = self._whole(line)
            return record if self.reads is None else {key: value for key, value in record.items() if key in self.reads}
        try:
            found = cast("dict[str, Any]", self._decoder.decode(line))
            line.isascii() or line.decode()  # msgspec does not look at the text that it skips
        except FAULTS as error:
            raise MalformedRecord(f"no record: {error}", line) from error
        return found

    def read_all(self, lines: Sequence[bytes]) -> list[dict[str, Any]]:
        """The same for many lines; raises `MalformedRecord` where any of them is no record.

        To msgspec a newline is a blank like any other: two records on a line and an empty line would be two on two.
        So lines are read together where each begins and ends as a record does: then each holds one at least, and as
        many records as lines are one on each.
        """
        if self._decoder is None or not _are_framed(lines):
            return list(map(self.read, lines))
        body = b"\n".join(lines)
        try:
            found = self._decoder.decode_lines(body)
            body.isascii() or body.decode()
        except FAULTS as error:
            raise MalformedRecord(f"no records: {error}", body) from error
        if len(found) != len(lines):
            raise MalformedRecord(f"{len(found)} records on {len(lines)} lines", body)
        return found

    def _whole(self, line: bytes) -> dict[str, Any]:
        try:
            record = orjson.loads(line)
        except orjson.JSONDecodeError as error:
            raise MalformedRecord(f"no JSON: {error}", line) from error
        if type(record) is not dict:
            raise MalformedRecord("no JSON object", line)
        return record


def _are_framed(lines: Sequence[bytes]) -> bool:
    """Whether each line begins and ends with a brace."""
    return all(lines) and {line[0] for line in lines} == BEGINS and {line[-1] for line in lines} == ENDS


EMPTY_READER = FieldReader(frozenset())
"""Reads nothing of a record."""
