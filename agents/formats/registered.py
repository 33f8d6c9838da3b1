"""Reads and writes messages whose schemas are in a registry."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress

from metroline.agents.formats import wire
from metroline.agents.formats.codec import Decoded, InvalidSchema, NotReadable, NotWritable, SchemaPending
from metroline.agents.formats.lookups import Lookups, Messages, SchemaLookups
from metroline.agents.formats.names import Choice
from metroline.agents.formats.registry import NotRegistered, RegisteredSchema


def subject_of(topic: str) -> str:
    """Return the subject of the values of a topic (TopicNameStrategy)."""
    return f"{topic}-value"


def key_of(choice: Choice, topic: str) -> int | str:
    """Return the id of the schema by which records are delivered at a topic, or else its subject."""
    return choice if isinstance(choice, int) else subject_of(topic)


def unregistered(key: int | str, error: NotRegistered) -> str:
    """Return the text that says that the registry lacks the schema by which records are delivered."""
    named = f"schema {key}" if isinstance(key, int) else f"subject {key}"
    return (
        f"it has no {named}, by which records are delivered ({error}): register it, or name another one with "
        "DELIVERED_SCHEMA or `schema` in line.toml"
    )


def unusable(error: InvalidSchema) -> str:
    """Return the text that says that no record can be delivered by a schema."""
    return f"{error}: records cannot be delivered by it"


class RegisteredDecoder:
    """Reads messages that name their schema."""

    def __init__(self, lookups: Lookups) -> None:
        self._lookups = lookups

    async def decode(self, values: Sequence[bytes | None]) -> Decoded:
        """Return the records of messages; raise `SchemaPending` if a schema is not known yet."""
        read, problems = list(values), {}
        schemas: list[str | None] = [None] * len(values)
        known = await self._named_by(values)
        for place, value in enumerate(values):
            if value is None:
                continue
            try:
                messages = known[wire.schema_id(value)]
                if isinstance(messages, str):
                    raise NotReadable(messages)
                read[place], schemas[place] = messages.read(value)
            except NotReadable as error:
                problems[place] = str(error)
        return Decoded(read, problems, tuple(schemas))

    async def _named_by(self, values: Sequence[bytes | None]) -> dict[int, Messages | str]:
        """Return the messages of each schema that is named, or the problem with it."""
        heads = {value[: wire.HEADER_BYTES] for value in values if value is not None}
        identities = []
        for head in heads:
            with suppress(NotReadable):
                identities.append(wire.schema_id(head))
        found = await asyncio.gather(*map(self._find, identities))
        return dict(zip(identities, found, strict=True))

    async def _find(self, identity: int) -> Messages | str:
        """Return the messages of a schema, or the problem with it."""
        try:
            return (await self._lookups.find(identity))[1]
        except NotRegistered as error:
            return f"the schema registry has no schema {identity}: {error}"
        except InvalidSchema as error:
            return str(error)


class RegisteredEncoder:
    """Writes records with a schema of the registry."""

    def __init__(self, lookups: SchemaLookups, topic: str, choice: Choice) -> None:
        self._lookups = lookups
        self._topic = topic
        self._choice = choice

    async def encode(self, lines: Sequence[bytes], schemas: Sequence[str | None]) -> list[bytes | NotWritable]:
        """Return the message of each record, or the reason why there is none; raise `SchemaPending`.

        A configured schema that the registry does not have is waited for: it is not the fault of the records.
        """
        if self._choice == "source":
            return [await self._as_it_came(line, schema) for line, schema in zip(lines, schemas, strict=True)]
        schema, messages = await self._configured()
        return [_written(schema, lambda line=line: messages.write(line, None)) for line in lines]  # type: ignore[misc]

    async def _configured(self) -> tuple[RegisteredSchema, Messages]:
        key = key_of(self._choice, self._topic)
        try:
            found = await self._lookups.find(key)
        except NotRegistered as error:
            problem = unregistered(key, error)
        except InvalidSchema as error:
            problem = unusable(error)
        else:
            self._lookups.health.has_all()
            return found
        self._lookups.health.lacks(problem)
        raise SchemaPending(problem)

    async def _as_it_came(self, line: bytes, named: str | None) -> bytes | NotWritable:
        """Write a record by the schema of its source message or, if it does not fit, by the latest of the subject."""
        problem = NotWritable("its source message names no schema")
        if named is not None:
            identity, indexes = wire.parse_schema_text(named)
            try:
                # a replay may have found the schema that this worker found missing
                schema, messages = await self._lookups.find_by_now(identity)
            except (NotRegistered, InvalidSchema) as error:
                problem = NotWritable(f"schema {identity}, which its source message names: {error}")
            else:
                written = _written(schema, lambda: messages.write(line, indexes))
                if isinstance(written, bytes):
                    return written
                problem = written
        try:
            schema, messages = await self._lookups.find(subject_of(self._topic))
        except (NotRegistered, InvalidSchema):
            return problem
        return _written(schema, lambda: messages.write(line, None))


def _written(schema: RegisteredSchema, write: Callable[[], bytes]) -> bytes | NotWritable:
    try:
        return write()
    except NotWritable as error:
        return NotWritable(f"{schema}: {error}")
