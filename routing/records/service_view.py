"""Views of records for services: which fields a service receives, and how its result is merged into the record."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import orjson

from metroline.routing.errors import MalformedRecord
from metroline.routing.records.field_reader import FieldReader

UNCHANGING = frozenset({str, int, bool, float, type(None)})
"""Types whose values cannot be changed in place."""

MAX_FIELDS = 64
"""Maximum number of fields that a view looks for in a line. If a service keeps adding others, lines are rewritten."""

END = ord("}")
NOT_BEFORE_END = frozenset(b"{ \t\r")
"""Bytes before the closing brace of an object that is empty or has white space there; such a line is rewritten."""

Record = dict[str, Any]
Opened = tuple[Record, Any]
"""The known fields of a record, and the record to pass to the service: a dict, or a value of the service's type."""


class ServiceView(Protocol):
    """Reads and writes the records of a stop."""

    def open(self, line: bytes) -> Opened:
        """Return the known fields of a record and the record to pass to the service; raise `MalformedRecord`."""

    def open_all(self, lines: Sequence[bytes]) -> list[Opened]:
        """Return what `open` returns for each line; raise `MalformedRecord` if any line is not a record."""

    def close(self, line: bytes, known: Record, result: Record) -> bytes:
        """Return the record's line with the result of the service merged into it.

        Raise `TypeError` if the result cannot be encoded as JSON, and `MalformedRecord` if the line turns out not to
        be a record.
        """

    def left(self, known: Record, result: Record) -> Record:
        """Return the known fields of the record as the service left them."""


class WholeRecord:
    """Passes the whole record to the service; the result replaces the record."""

    def open(self, line: bytes) -> Opened:
        try:
            record = orjson.loads(line)
        except orjson.JSONDecodeError as error:
            raise MalformedRecord(f"not valid JSON: {error}", line) from error
        if type(record) is not dict:
            raise MalformedRecord("not a JSON object", line)
        return record, record

    def open_all(self, lines: Sequence[bytes]) -> list[Opened]:
        return list(map(self.open, lines))

    def close(self, line: bytes, known: Record, result: Record) -> bytes:
        return orjson.dumps(result)

    def left(self, known: Record, result: Record) -> Record:
        return result


class SelectedFields(WholeRecord):
    """Passes selected fields to the service; the result is merged into the record (Content Enricher)."""

    def __init__(self, names: frozenset[str]) -> None:
        self.names = names
        """The fields that the service receives."""

    def open(self, line: bytes) -> Opened:
        record, _ = super().open(line)
        return record, self.handed(record)

    def handed(self, record: Record) -> Record:
        """Return the selected fields of a record, those that it has."""
        return {name: value for name, value in record.items() if name in self.names}

    def close(self, line: bytes, known: Record, result: Record) -> bytes:
        return orjson.dumps(self.left(known, result))

    def left(self, known: Record, result: Record) -> Record:
        taken_out = self.names - result.keys()
        return {name: value for name, value in known.items() if name not in taken_out} | result


class PartialDecode:
    """Passes selected fields to the service without decoding the rest of the record.

    It can be used where the rules read only certain fields. New fields are appended to the record's line; the line is
    decoded and rewritten only if the service changes or removes a field.
    """

    def __init__(self, names: frozenset[str], needed: frozenset[str]) -> None:
        """`names` are the fields for the service; `needed` are the fields for the rules and others to look for."""
        self._part = SelectedFields(names)
        self._fields = names | needed
        self._withheld = self._fields - names
        self._reader = FieldReader(self._fields)
        self._unknown: set[str] = set()

    def grown(self) -> PartialDecode:
        """Return a view that also looks for the fields that the service has added, or this view if there are none.

        A field can be appended to a line only if it is known to be absent, so the view has to look for it.
        """
        unknown = self._unknown if len(self._fields) + len(self._unknown) <= MAX_FIELDS else ()
        return PartialDecode(self._part.names, self._fields.union(unknown)) if unknown else self

    def open(self, line: bytes) -> Opened:
        known = self._reader.read(line)
        return known, self._handed(known)

    def open_all(self, lines: Sequence[bytes]) -> list[Opened]:
        return [(known, self._handed(known)) for known in self._reader.read_all(lines)]

    def _handed(self, known: Record) -> Record:
        if self._withheld.isdisjoint(known):
            return known.copy()
        return {name: value for name, value in known.items() if name not in self._withheld}

    def close(self, line: bytes, known: Record, result: Record) -> bytes:
        added = {}
        is_new = line[-1] == END and line[-2] not in NOT_BEFORE_END
        for name, value in result.items():
            if name not in known:
                added[name] = value
                is_new = is_new and name in self._fields
            elif value is not known[name] or type(value) not in UNCHANGING:
                return self._rewritten(line, result)
        if len(result) - len(added) < len(known) and not self._part.names.isdisjoint(known.keys() - result.keys()):
            return self._rewritten(line, result)
        if not added:
            return line
        if not is_new:
            if len(self._unknown) < MAX_FIELDS:
                self._unknown.update(filter(_is_text, added.keys() - self._fields))
            return self._rewritten(line, result)
        return b"".join((line[:-1], b",", orjson.dumps(added)[1:]))

    def left(self, known: Record, result: Record) -> Record:
        return result if self._withheld.isdisjoint(known) else self._part.left(known, result)

    def _rewritten(self, line: bytes, result: Record) -> bytes:
        return self._part.close(line, self._part.open(line)[0], result)


def _is_text(name: object) -> bool:
    """Return whether a key can be the name of a JSON field."""
    return type(name) is str
