"""Edits of dead letters before they are replayed: fields are set, also inside objects and lists."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson

from metroline.app.operations.exact_json import exact_object
from metroline.routing.errors import UsageError

HINTS = {"true": "true", "false": "false", "none": "null", "null": "null", "nan": "null"}
"""The JSON value that each of these words may stand for, in whatever case."""


def parse_field(text: str) -> tuple[str, Any, str | None]:
    """Return the field and the value in `FIELD=VALUE`, and what to say about a value that is not JSON but text.

    Raise `UsageError` if it has no field, or a value that JSON in Python would change.
    """
    name, equals, value = text.partition("=")
    if not equals or not name:
        raise UsageError(f"--set {text}: write FIELD=VALUE")
    try:
        orjson.loads(value)
    except orjson.JSONDecodeError:
        return name, value, _taken_as_text(name, value)
    try:
        return name, exact_object(b'{"value":%b}' % value.strip().encode())["value"], None
    except UsageError as error:
        raise UsageError(f"--set {text}: {error}") from error


def _taken_as_text(name: str, value: str) -> str:
    meant = HINTS.get(value.strip().lower())
    hint = f"; for the JSON value, write {name}={meant}" if meant is not None else ""
    return f"{name} is set to the text {orjson.dumps(value).decode()}, since this is not JSON{hint}"


def with_fields(record: Mapping[str, Any], fields: Mapping[str, Any]) -> bytes:
    """Return a record with these fields set, as a line of JSON.

    A name with dots that is no field at the top level is a path into objects, which are made where they are absent, and
    into lists, by index from 0. Raise `UsageError` if a path leads into something else, or a value does not fit into
    JSON.
    """
    edited = dict(record)
    for name, value in fields.items():
        if name in record or "." not in name:
            edited[name] = value
        else:
            _set_in(edited, name, value)
    try:
        line = orjson.dumps(edited)
    except TypeError as error:
        raise UsageError(f"the fields {', '.join(fields)} do not fit into JSON: {error}") from error
    return line


def _set_in(record: dict[str, Any], path: str, value: Any) -> None:
    """Set a field inside objects and lists, in place."""
    *steps, last = path.split(".")
    into: Any = record
    for place, step in enumerate(steps):
        if isinstance(into, dict) and step not in into:
            into[step] = {}
        into = into[_key(into, step, path, steps[:place])]
    into[_key(into, last, path, steps)] = value


def _key(into: Any, step: str, path: str, before: list[str]) -> str | int:
    """Return the key of a step of a path."""
    if isinstance(into, dict):
        return step
    here = ".".join(before)
    if isinstance(into, list):
        if step.isascii() and step.isdigit() and len(step) < 10 and int(step) < len(into):
            return int(step)
        raise UsageError(f"{path!r}: {here!r} is a list of {len(into)}, so an index from 0 must follow it")
    raise UsageError(f"{path!r}: {here!r} is {_kind(into)}, so nothing can be set in it: set {here!r} as a whole")


def _kind(value: Any) -> str:
    return "null" if value is None else "a string" if isinstance(value, str) else "a number or a boolean"
