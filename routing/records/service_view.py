"""What a service is handed of a record, and what the record's line becomes with what the service made of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import orjson

from metroline.routing.errors import MalformedRecord
from metroline.routing.records.field_reader import FieldReader

UNCHANGING = frozenset({str, int, bool, float, type(None)})
"""Types whose values cannot be changed in place."""

MOST_FIELDS = 64
"""Fields that are looked for in a record's line; where a service adds ever new ones, the record is written anew."""

END = ord("}")
NOT_BEFORE_END = frozenset(b"{ \t\r")
"""What stands before the end of an object without fields, or of one that is written unusually."""

Record = dict[str, Any]
Opened = tuple[Record, Record]
"""What is known of a record, and what the service is handed of it."""


class ServiceView(Protocol):
    """How the records of a stop are read and written."""

    def open(self, line: bytes) -> Opened:
        """What is known of a record, and what the service is handed of it; raises `MalformedRecord`."""

    def open_all(self, lines: Sequence[bytes]) -> list[Opened]:
        """The same for many lines; raises `MalformedRecord` where any of them is no record."""

    def close(self, line: bytes, known: Record, result: Record) -> bytes:
        """The record's line with what the service gave back.

        Raises `TypeError` where JSON cannot hold that, and `MalformedRecord` where the line is no record after all.
        """

    def left(self, known: Record, result: Record) -> Record:
        """The record as the service left it, as far as it is known."""


class WholeRecord:
    """The service is handed the whole record, and what it gives back is the record."""

    def open(self, line: bytes) -> Opened:
        try:
            record = orjson.loads(line)
        except orjson.JSONDecodeError as error:
            raise MalformedRecord(f"no JSON: {error}", line) from error
        if type(record) is not dict:
            raise MalformedRecord("no JSON object", line)
        return record, record

    def open_all(self, lines: Sequence[bytes]) -> list[Opened]:
        return list(map(self.open, lines))

    def close(self, line: bytes, known: Record, result: Record) -> bytes:
        return orjson.dumps(result)

    def left(self, known: Record, result: Record) -> Record:
        return result


class SelectedFields(WholeRecord):
    """The service is handed some fields of the record, and what it gives back is laid over it (Content Enricher)."""

    def __init__(self, names: frozenset[str]) -> None:
        self.names = names
        """The fields that the service is handed."""

    def open(self, line: bytes) -> Opened:
        record, _ = super().open(line)
        return record, self.handed(record)

    def handed(self, record: Record) -> Record:
        return {name: value for name, value in record.items() if name in self.names}

    def close(self, line: bytes, known: Record, result: Record) -> bytes:
        return orjson.dumps(self.left(known, result))

    def left(self, known: Record, result: Record) -> Record:
        taken_out = self.names - result.keys()
        return {name: value for name, value in known.items() if name not in taken_out} | result


class PartialDecode:
    """The same, where no rule asks for more than some fields: the rest of the record travels on without being decoded.

    Fields that are new are added to the record's line; only where one is changed or taken out is it written anew.
    """

    def __init__(self, names: frozenset[str], beside: frozenset[str]) -> None:
        """`beside` are the fields that the rules read, and any others that shall be looked for."""
        self._part = SelectedFields(names)
        self._fields = names | beside
        self._beside = self._fields - names
        self._reader = FieldReader(self._fields)
        self._unknown: set[str] = set()

    def grown(self) -> PartialDecode:
        """One that also looks for the fields that the service added: only what was looked for is known to be new."""
        unknown = self._unknown if len(self._fields) + len(self._unknown) <= MOST_FIELDS else ()
        return PartialDecode(self._part.names, self._fields.union(unknown)) if unknown else self

    def open(self, line: bytes) -> Opened:
        known = self._reader.read(line)
        return known, self._handed(known)

    def open_all(self, lines: Sequence[bytes]) -> list[Opened]:
        return [(known, self._handed(known)) for known in self._reader.read_all(lines)]

    def _handed(self, known: Record) -> Record:
        if self._beside.isdisjoint(known):
            return known.copy()
        return {name: value for name, value in known.items() if name not in self._beside}

    def close(self, line: bytes, known: Record, result: Record) -> bytes:
        added = {}
        is_new = line[-1] == END and line[-2] not in NOT_BEFORE_END
        for name, value in result.items():
            if name not in known:
                added[name] = value
                is_new = is_new and name in self._fields
            elif value is not known[name] or type(value) not in UNCHANGING:
                return self._anew(line, result)
        if len(result) - len(added) < len(known) and not self._part.names.isdisjoint(known.keys() - result.keys()):
            return self._anew(line, result)
        if not added:
            return line
        if not is_new:
            if len(self._unknown) < MOST_FIELDS:
                self._unknown.update(filter(_is_text, added.keys() - self._fields))
            return self._anew(line, result)
        return b"".join((line[:-1], b",", orjson.dumps(added)[1:]))

    def left(self, known: Record, result: Record) -> Record:
        return result if self._beside.isdisjoint(known) else self._part.left(known, result)

    def _anew(self, line: bytes, result: Record) -> bytes:
        return self._part.close(line, self._part.open(line)[0], result)


def _is_text(name: object) -> bool:
    """Whether it can be the name of a field."""
    return type(name) is str
