"""The interface of a format: messages of the source become JSON lines, and delivered records become messages."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol

import orjson

from metroline.routing.errors import MetrolineError


class NotReadable(MetrolineError):
    """Raised for a message that is not in its format; its text is the problem."""


class NotWritable(MetrolineError):
    """Raised for a record that its format cannot hold; its text is the problem, with the path of the field."""


class InvalidSchema(MetrolineError):
    """Raised for a schema that cannot be used; its text says why."""


class SchemaPending(MetrolineError):
    """Raised while the schema registry does not say what a format needs to know. The messages wait."""


class Decoded(NamedTuple):
    """Messages of the source, read."""

    values: Sequence[bytes | None]
    """Each record as a JSON line. A message that could not be read, and one without a value, is as it was."""
    problems: dict[int, str]
    """The problem of each message that could not be read, by its index."""
    schemas: tuple[str | None, ...] | None = None
    """The schema that each message names (see `wire.schema_text`), for formats with a schema registry."""


class Decoder(Protocol):
    """Reads messages of the source."""

    async def decode(self, values: Sequence[bytes | None]) -> Decoded:
        """Return the records of messages; raise `SchemaPending` if a schema is not known yet."""
        ...


class Encoder(Protocol):
    """Writes delivered records."""

    async def encode(self, lines: Sequence[bytes], schemas: Sequence[str | None]) -> list[bytes | NotWritable]:
        """Return the message of each record, which is given as a JSON line, or the reason why there is none.

        `schemas[i]` is the schema that the source message of a record named. Raise `SchemaPending` if a schema is not
        known yet.
        """
        ...


def json_line(record: dict[str, Any]) -> bytes:
    """Return a record as a JSON line; raise `NotReadable` if JSON cannot hold it."""
    try:
        return orjson.dumps(record)
    except orjson.JSONEncodeError as error:
        raise NotReadable(f"JSON cannot hold the record: {error}") from error
