"""The records of a test, as the source messages in which they come in."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import orjson

from metroline.app.inputs.source_records import records_in
from metroline.routing.errors import UsageError
from metroline.routing.messages.metadata import Metadata

Value = Mapping[str, Any] | str | bytes | None
"""The value of a message: a record, its JSON, or any bytes; None for a tombstone."""


@dataclass(frozen=True, slots=True)
class Message:
    """A source message with a key, headers or a timestamp, to be given to `run_line` in place of a record."""

    value: Value
    """A record (a dict), its JSON, or any bytes, of which each line is a record; None for a tombstone."""
    key: str | bytes | None = None
    headers: Mapping[str, str | bytes | None] = field(default_factory=dict)
    timestamp: float | datetime | None = None
    """A `datetime` with a time zone, or seconds since the epoch. Default: the time at which the record comes in."""

    def metadata(self, now: float) -> Metadata:
        """Return the metadata of the message, which comes in at the time `now`, in seconds since the epoch."""
        at = now if self.timestamp is None else seconds(self.timestamp, "the timestamp of a message")
        own = [(name, None if value is None else _bytes(value)) for name, value in self.headers.items()]
        return Metadata.of([None if self.key is None else _bytes(self.key)], [own], [round(at * 1_000)])


Records = Value | Message | Path | Iterable[Value | Message]
"""The records of a test: one, several, or a file of them."""


def messages_of(records: Records) -> Iterator[tuple[bytes | None, Message]]:
    """Yield the value of each message as bytes, with the message; raise `UsageError` for what can be no record."""
    if isinstance(records, Path):
        records = [line for _, line in records_in(records)]
    elif records is None or isinstance(records, (Mapping, str, bytes, Message)):
        records = [records]
    for number, one in enumerate(records, 1):
        message = one if isinstance(one, Message) else Message(one)
        yield _value(number, message.value), message


def _value(number: int, value: Value) -> bytes | None:
    if value is None or isinstance(value, bytes):
        return value
    if isinstance(value, str):
        return value.encode()
    if not isinstance(value, Mapping):
        raise UsageError(f"record {number} is a {type(value).__name__}: give a dict, its JSON, or a Message")
    try:
        return orjson.dumps(dict(value))
    except TypeError as error:
        raise UsageError(f"record {number} cannot be written as JSON: {error}") from error


def seconds(moment: float | datetime, what: str) -> float:
    """Return a time in seconds since the epoch; raise `UsageError`, which says what it is, if it has no time zone."""
    if not isinstance(moment, datetime):
        return float(moment)
    if moment.utcoffset() is None:
        raise UsageError(f"{what} has no time zone: write datetime(..., tzinfo=UTC)")
    return moment.timestamp()


def _bytes(text: str | bytes) -> bytes:
    return text.encode() if isinstance(text, str) else text
