"""Formats that a line's author writes: a function from bytes to a record, or from a record to bytes."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Sequence
from typing import Any

import orjson

from metroline.agents.formats.codec import Decoded, NotReadable, NotWritable, json_line
from metroline.routing.errors import UsageError


class UnusableFunction(UsageError):
    """Raised when the function that a setting names cannot be used."""


def function_named(setting: str, name: str) -> Callable[[Any], Any]:
    """Return the function `package.module:function`; raise `UnusableFunction`, which names the setting."""
    module, _, function = name.partition(":")
    try:
        found = getattr(importlib.import_module(module), function)
    except Exception as error:  # a user's module may raise anything
        raise UnusableFunction(f"{setting}: {name} cannot be imported: {type(error).__name__}: {error}") from error
    if not callable(found):
        raise UnusableFunction(f"{setting}: {name} is not a function")
    return found  # type: ignore[no-any-return]


class OwnDecoder:
    """Reads each message with a function that returns its record."""

    def __init__(self, read: Callable[[bytes], dict[str, Any]]) -> None:
        self._read = read

    async def decode(self, values: Sequence[bytes | None]) -> Decoded:
        """Return the records of messages."""
        read, problems = list(values), {}
        for place, value in enumerate(values):
            if value is None:
                continue
            try:
                read[place] = self._line(value)
            except NotReadable as error:
                problems[place] = str(error)
        return Decoded(read, problems)

    def _line(self, value: bytes) -> bytes:
        try:
            record = self._read(value)
        except Exception as error:  # a user's function may raise anything
            raise NotReadable(f"{type(error).__name__}: {error}") from error
        if type(record) is not dict:
            raise NotReadable(f"the decoder returned {type(record).__name__}, not a dict")
        return json_line(record)


class OwnEncoder:
    """Writes each record with a function that returns its message."""

    def __init__(self, write: Callable[[dict[str, Any]], bytes]) -> None:
        self._write = write

    async def encode(self, lines: Sequence[bytes], schemas: Sequence[str | None]) -> list[bytes | NotWritable]:
        """Return the message of each record, or the reason why there is none."""
        return [self._message(line) for line in lines]

    def _message(self, line: bytes) -> bytes | NotWritable:
        try:
            message = self._write(orjson.loads(line))
        except Exception as error:  # noqa: BLE001 - a user's function may raise anything
            return NotWritable(f"{type(error).__name__}: {error}")
        if type(message) is not bytes:
            return NotWritable(f"the encoder returned {type(message).__name__}, not bytes")
        return message
