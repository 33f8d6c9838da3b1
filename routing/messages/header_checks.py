"""Checks of the values in a decoded header. Each returns the value or raises `MetrolineError`."""

from __future__ import annotations

import re
import reprlib
from typing import Any

from metroline.routing.errors import MetrolineError
from metroline.routing.records.fingerprints import EXACT

TOPIC_PART = re.compile(r"[A-Za-z0-9_.-]{1,100}")

MAX_SECONDS = 253_402_300_799
"""The end of the year 9999, in seconds since the epoch: later times cannot be shown."""


def text(value: Any) -> str:
    """Return the value if it is a string."""
    if type(value) is not str:
        raise MetrolineError(f"{reprlib.repr(value)} is not a string")
    return value


def stop_name(value: Any) -> str:
    """Return the value if it is a string that can be part of the name of a topic."""
    if not TOPIC_PART.fullmatch(text(value)):
        raise MetrolineError(f"{reprlib.repr(value)} cannot be the name of a stop")
    return str(value)


def text_or_none(value: Any) -> str | None:
    """Return the value if it is a string or None."""
    return None if value is None else text(value)


def natural(value: Any) -> int:
    """Return the value if it is an integer from 0 to 2**53 - 1, which leaves room to increase it."""
    if type(value) is not int or not 0 <= value < EXACT:
        raise MetrolineError(f"{reprlib.repr(value)} is not an integer from 0 to 2**53 - 1")
    return value


def seconds(value: Any) -> float:
    """Return the value as a float if it is a number from 0 to `MAX_SECONDS`; a bool is none."""
    if type(value) is not float and type(value) is not int:
        raise MetrolineError(f"{reprlib.repr(value)} is not a time in seconds")
    if not 0 <= value <= MAX_SECONDS:  # NaN is not, either
        raise MetrolineError(f"{reprlib.repr(value)} is not a time in seconds between 1970 and 9999")
    return float(value)
