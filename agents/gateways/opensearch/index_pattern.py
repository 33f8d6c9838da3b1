"""Names of indices from a pattern such as `orders-%Y.%m.%d` and the time of a record, in UTC."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from functools import lru_cache

from metroline.routing.errors import MetrolineError

DIRECTIVES = "YmdHjGV"
"""The directives of `strftime` that a pattern may have: year, month, day, hour, day of the year, ISO year and week."""

HOUR = 3_600_000
"""Milliseconds for which a pattern makes the same name, as it knows no minutes."""

MAX_BYTES = 255
"""Maximum length of the name of an index."""

FORBIDDEN = re.compile(r'[A-Z\\/*?"<>|\s,#:]')
"""Characters that no name of an index has."""

EXAMPLE_TIME = datetime(2026, 12, 31, 23, tzinfo=UTC)

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class InvalidPattern(MetrolineError):
    """Raised when a pattern makes no valid names of indices."""


class NoSuchTime(MetrolineError):
    """Raised for a time outside the years 1 to 9999."""


class IndexPattern:
    """A pattern of names of indices."""

    def __init__(self, text: str) -> None:
        """Raise `InvalidPattern` if the text is no pattern."""
        _check(text)
        self.text = text
        self.has_time = "%" in text
        """True if the index depends on the time of a record."""
        self._name = lru_cache(maxsize=1_000)(self._name_in_hour)

    def __repr__(self) -> str:
        return f"IndexPattern({self.text!r})"

    def name(self, timestamp: int) -> str:
        """Return the index of a record; `timestamp` is in milliseconds since the epoch. Raise `NoSuchTime`."""
        return self._name(timestamp // HOUR) if self.has_time else self.text

    def _name_in_hour(self, hour: int) -> str:
        try:
            return _formatted(EPOCH + timedelta(hours=hour), self.text)
        except OverflowError as error:
            raise NoSuchTime("its time is outside the years 1 to 9999") from error


def _formatted(at: datetime, text: str) -> str:
    """Return a pattern with its directives replaced. The year has four digits, which `strftime` does not ensure."""
    return re.sub("%([A-Za-z])", lambda found: _part(at, found[1]), text)


def _part(at: datetime, directive: str) -> str:
    if directive == "Y":
        return f"{at.year:04d}"
    if directive == "G":
        return f"{at.isocalendar().year:04d}"
    return at.strftime(f"%{directive}")


def _check(text: str) -> None:
    for directive in re.findall("%(.?)", text):
        if not directive or directive not in DIRECTIVES:
            known = ", ".join(f"%{one}" for one in DIRECTIVES)
            raise InvalidPattern(f"%{directive} is no part of a time that a pattern may have; use {known}")
    name = _formatted(EXAMPLE_TIME, text)
    if found := FORBIDDEN.search(name):
        raise InvalidPattern(f"an index cannot be named {name!r}: {found[0]!r} is not allowed, nor are capital letters")
    if not name or name.startswith(("-", "_", "+")) or name in (".", ".."):
        raise InvalidPattern(f"an index cannot be named {name!r}: a name is not empty and begins with none of - _ +")
    if len(name.encode()) > MAX_BYTES:
        raise InvalidPattern(f"the name of an index has at most {MAX_BYTES} bytes")
