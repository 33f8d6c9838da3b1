"""Formats that a line's author writes: a function from bytes to a record, or from a record to bytes."""

from __future__ import annotations

import asyncio
import importlib
import time
from collections.abc import Callable, Sequence
from typing import Any

import orjson

from metroline.agents.formats.codec import Decoded, NotReadable, NotWritable, json_line
from metroline.routing.errors import UsageError
from metroline.routing.foreign_values import name_of_type, text_of

MAX_TEXT_CHARACTERS = 1_000
"""Maximum number of characters of an exception's text that are kept."""

SLICE_SECONDS = 0.02
"""Time after which other tasks of the event loop may run."""


class UnusableFunction(UsageError):
    """Raised when the function that a setting names cannot be used."""


def function_named(setting: str, name: str) -> Callable[[Any], Any]:
    """Return the function `package.module:function`; raise `UnusableFunction`, which names the setting."""
    module, _, function = name.partition(":")
    try:
        found = getattr(importlib.import_module(module), function)
    except (Exception, SystemExit) as error:  # a user's module may raise anything
        raise UnusableFunction(f"{setting}: {name} cannot be imported: {type(error).__name__}: {error}") from error
    if not callable(found):
        raise UnusableFunction(f"{setting}: {name} is not a function")
    return found  # type: ignore[no-any-return]


class OwnDecoder:
    """Reads each message with a function that returns its record. Whatever it does, only its message is dead."""

    def __init__(self, read: Callable[[bytes], dict[str, Any]]) -> None:
        self._read = read

    async def decode(self, values: Sequence[bytes | None]) -> Decoded:
        """Return the records of messages."""
        read, problems = list(values), {}
        pace = _Pace()
        for place, value in enumerate(values):
            if value is None:
                continue
            try:
                read[place] = self.line_of(value)
            except NotReadable as error:
                problems[place] = str(error)
            await pace.pause()
        return Decoded(read, problems)

    def line_of(self, value: bytes) -> bytes:
        """Return the record in a message as a line of JSON; raise `NotReadable`."""
        try:
            record = self._read(value)
        except BaseException as error:  # a user's function may raise anything, even SystemExit
            raise NotReadable(_told(error)) from error
        if type(record) is not dict:
            raise NotReadable(f"the decoder returned {name_of_type(record)}, not a dict")
        return json_line(record)


class OwnEncoder:
    """Writes each record with a function that returns its message. Whatever it does, only its record is dead."""

    def __init__(self, write: Callable[[dict[str, Any]], bytes]) -> None:
        self._write = write

    async def encode(self, lines: Sequence[bytes], schemas: Sequence[str | None]) -> list[bytes | NotWritable]:
        """Return the message of each record, or the reason why there is none."""
        written, pace = [], _Pace()
        for line in lines:
            written.append(self.message_of(line))
            await pace.pause()
        return written

    def message_of(self, line: bytes) -> bytes | NotWritable:
        """Return the message of a record."""
        try:
            message = self._write(orjson.loads(line))
        except BaseException as error:  # noqa: BLE001 - a user's function may raise anything, even SystemExit
            return NotWritable(_told(error))
        if type(message) is not bytes:
            return NotWritable(f"the encoder returned {name_of_type(message)}, not bytes")
        return message


def _told(error: BaseException) -> str:
    return f"{name_of_type(error)}: {text_of(error, MAX_TEXT_CHARACTERS)}"


class _Pace:
    """Lets other tasks of the event loop run from time to time."""

    def __init__(self) -> None:
        self._paused_at = time.monotonic()

    async def pause(self) -> None:
        """Yield if the last time is long enough ago."""
        if time.monotonic() - self._paused_at > SLICE_SECONDS:
            await asyncio.sleep(0)
            self._paused_at = time.monotonic()
