"""Writes JSON values as TOML, which has no null."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from datetime import date, time
from typing import Any

import orjson

from metroline.routing.records.fingerprints import MAX_INTEGER, MIN_INTEGER

BARE = re.compile(r"[A-Za-z0-9_-]+\Z")


def toml_value(value: Any) -> str:
    """Return a JSON value as it is written in TOML, on one line; an object as an inline table.

    Raise `ValueError` for null.
    """
    if isinstance(value, Mapping):
        fields = [f"{toml_key(name)} = {toml_value(one)}" for name, one in value.items()]
        return f"{{ {', '.join(fields)} }}" if fields else "{}"
    if isinstance(value, (list, tuple)):
        return f"[{', '.join(map(toml_value, value))}]"
    if value is None:
        raise ValueError("TOML has no null")
    if isinstance(value, str):
        return _text(value)
    return str(value).lower() if isinstance(value, bool) else repr(value)


def toml_key(name: str) -> str:
    """Return the name of a key, in quotes if it needs them."""
    return name if BARE.match(name) else toml_value(name)


def has_null(value: Any) -> bool:
    """Return whether there is a null in a JSON value."""
    if isinstance(value, Mapping):
        return any(map(has_null, value.values()))
    return value is None or (isinstance(value, list) and any(map(has_null, value)))


def not_json(value: Any, path: tuple[str | int, ...] = ()) -> Iterator[tuple[tuple[str | int, ...], str]]:
    """Yield the path and the problem of each value of TOML that a record cannot hold."""
    if isinstance(value, dict):
        for name, one in value.items():
            yield from not_json(one, (*path, name))
    elif isinstance(value, list):
        for number, one in enumerate(value):
            yield from not_json(one, (*path, number))
    elif isinstance(value, (date, time)):
        yield path, "JSON has no dates and times: write it as text, in quotes"
    elif isinstance(value, float) and not math.isfinite(value):
        yield path, f"JSON has no {value}"
    elif isinstance(value, int) and not MIN_INTEGER <= value <= MAX_INTEGER:
        yield path, f"the integer {value} does not fit into 64 bits"


def _text(text: str) -> str:
    """Return a string of TOML, without escapes where that spares some."""
    if "'" not in text and text.isprintable() and ('"' in text or "\\" in text):
        return f"'{text}'"
    return orjson.dumps(text).decode().replace("\x7f", "\\u007f")
