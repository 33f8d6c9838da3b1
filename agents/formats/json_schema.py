"""Messages with a JSON Schema: JSON that is checked when it is read and before it is written."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jsonschema_rs
import orjson

from metroline.agents.formats.codec import InvalidSchema, NotReadable, NotWritable
from metroline.agents.formats.registry import RegisteredSchema
from metroline.agents.formats.unfit import kind_of, path_text
from metroline.agents.formats.wire import HEADER_BYTES, header, schema_text
from metroline.routing.records.source_messages import read_message

MAX_PROBLEM = 300
"""Maximum number of characters of a library's text, which may show the value."""


class JsonMessages:
    """The messages of a JSON Schema, with the header of Confluent's wire format."""

    def __init__(self, schema: RegisteredSchema) -> None:
        """Raise `InvalidSchema` if the schema cannot be used."""
        references = dict(schema.references)

        def referred(uri: str) -> Any:
            """Return a schema that this one refers to. Nothing but the registry's references is ever fetched."""
            for name, text in references.items():
                if uri == name or uri.rpartition(":///")[2] == name or uri.endswith(f"/{name}"):
                    return orjson.loads(text)
            raise ValueError(f"the registry names no reference {uri}")

        try:
            self._validator = jsonschema_rs.validator_for(orjson.loads(schema.text), retriever=referred)
        except Exception as error:  # the library has an error for each kind of mistake, and some are ValueErrors
            raise InvalidSchema(f"{type(error).__name__}: {str(error).splitlines()[0][:MAX_PROBLEM]}") from error
        self._header, self._text = header(schema.id), schema_text(schema.id)

    def read(self, value: bytes) -> tuple[bytes, str]:
        """Return the record in a message as a JSON line, and the schema that it names; raise `NotReadable`."""
        [first, *others] = read_message(value[HEADER_BYTES:])
        if first.record is None or others:
            raise NotReadable(first.problem or "it holds several records")
        if problem := self._problem(first.record):
            raise NotReadable(problem)
        return first.line, self._text

    def write(self, line: bytes, _: Sequence[int] | None) -> bytes:
        """Return the message of a record that is given as a JSON line; raise `NotWritable`."""
        if problem := self._problem(orjson.loads(line)):
            raise NotWritable(problem)
        return self._header + line

    def _problem(self, record: dict[str, Any]) -> str | None:
        try:
            self._validator.validate(record)
        except jsonschema_rs.ValidationError as error:
            path = path_text(list(error.instance_path)) or "the record"
            return f"{path}: {error.message[:MAX_PROBLEM]} (its type is {kind_of(error.instance)})"
        return None
