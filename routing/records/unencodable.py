"""Finds the value of a record that cannot be encoded as JSON: `items[2].price: …`."""

from __future__ import annotations

from typing import Any

import orjson

MAX_DEPTH = 20
"""Maximum number of steps of a path."""

MAX_PATH = 200
"""Maximum number of characters of a path that are shown."""


def named(record: Any, problem: str) -> str:
    """Return the problem that encoding a record met, after the path of the value at fault if it is found.

    It looks into dicts, lists and tuples themselves, not into subclasses, whose methods are the author's.
    """
    path = _path(record)
    shown = path.removeprefix(".")[:MAX_PATH]
    return f"{shown}: {problem}" if shown else problem


def _path(value: Any) -> str:
    """Return the way to the first value that cannot be encoded, as steps behind one another; empty if it is `value`."""
    path = ""
    for _ in range(MAX_DEPTH):
        kind = type(value)
        if kind is dict:
            steps = [(f".{name}", one) for name, one in value.items() if type(name) is str]
        elif kind is list or kind is tuple:
            steps = [(f"[{place}]", one) for place, one in enumerate(value)]
        else:
            break
        for step, one in steps:
            if not _is_encodable(one):
                path, value = path + step, one
                break
        else:
            break
    return path


def _is_encodable(value: Any) -> bool:
    try:
        orjson.dumps(value)
    except TypeError:
        return False
    return True
