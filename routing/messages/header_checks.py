"""Checks of the values in a decoded header."""

from __future__ import annotations

import re
import reprlib
from typing import Any

from metroline.routing.errors import MetrolineError
from metroline.routing.records.fingerprints import EXACT

TOPIC_PART = re.compile(r"[A-Za-z0-9_.-]{1,100}")


def text(value: Any) -> str:
    """The value, which must be text; like those below it raises `MetrolineError` for any other."""
    if type(value) is not str:
        raise MetrolineError(f"{reprlib.repr(value)} is no text")
    return value


def stop_name(value: Any) -> str:
    """The value, which must be text that can be a part of a topic's name."""
    if not TOPIC_PART.fullmatch(text(value)):
        raise MetrolineError(f"{reprlib.repr(value)} cannot be a stop")
    return str(value)


def text_or_none(value: Any) -> str | None:
    return None if value is None else text(value)


def natural(value: Any) -> int:
    """The value, which must be a whole number from 0 on that can still grow and be written."""
    if type(value) is not int or not 0 <= value < EXACT:
        raise MetrolineError(f"{reprlib.repr(value)} is no number of this kind")
    return value


def seconds(value: Any) -> float:
    """The value, which must be a number; `True` is none."""
    if type(value) is not float and type(value) is not int:
        raise MetrolineError(f"{reprlib.repr(value)} is no time")
    return float(value)
