"""Times and durations: the texts that stand for them, and their parts in a time zone."""

from __future__ import annotations

import re
from collections.abc import Callable

from metroline.routing.rules.cel.runtime import evaluator
from metroline.routing.rules.cel.values import Duration, Time, Wrong, exact

MICROSECONDS = 1_000_000
"""Number of microseconds in a second."""

EARLIEST, LATEST = -62_135_596_800 * MICROSECONDS, 253_402_300_800 * MICROSECONDS - 1
"""The times that have a year from 1 to 9999."""

TIME = re.compile(
    r"(\d{4}-\d{2}-\d{2})(?:[Tt ](\d{2}:\d{2})(?::(\d{2})(?:[.,](\d{1,9}))?)?(?: ?([Zz]|[+-]\d{2}(?::?\d{2})?))?)?",
    re.ASCII,
)
"""Date, hours and minutes, seconds, fraction, and zone. RFC 3339 wants nearly all of them; real files lack some."""

PARTS_OF_DURATION = re.compile(r"(\d+(?:\.\d*)?|\.\d+)(h|ms|us|µs|ns|m|s)", re.ASCII)
DURATION = re.compile(f"[+-]?(?:0|(?:{PARTS_OF_DURATION.pattern})+)", re.ASCII)
SECONDS = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 1e-3, "us": 1e-6, "µs": 1e-6, "ns": 1e-9}

ZONE = re.compile(r"[+-]?\d{2}:\d{2}|[A-Z][\w+-]*(?:/[A-Z][\w+-]*)*", re.ASCII)
"""An offset, or a name of the time zone database. `localtime` is none: it would differ from machine to machine."""

MAX_CHARACTERS = 64
"""Maximum length of a text that is read as a time, a duration or a zone."""

BEYOND = "beyond the years 1 to 9999"


def _in_range(microseconds: int) -> Time:
    if EARLIEST <= microseconds <= LATEST:
        return Time(microseconds)
    raise Wrong(f"the time is {BEYOND}")


def parse_time(text: str) -> Time:
    """Return the time that a text stands for; raise `Wrong` if it is none. Without a zone it is in UTC."""
    found = TIME.fullmatch(text) if len(text) <= MAX_CHARACTERS else None
    if found is not None:
        day, clock, second, fraction, zone = found.groups()
        digits = (zone or "Z").upper().replace(":", "").ljust(5, "0")
        offset = "Z" if digits.startswith("Z") else f"{digits[:3]}:{digits[3:]}"
        whole = f"{day}T{clock or '00:00'}:{second or '00'}{offset}"
        try:
            seconds = evaluator("int(timestamp(text))")(text=whole)
        except ValueError:
            pass
        else:
            return _in_range(seconds * MICROSECONDS + int((fraction or "")[:6].ljust(6, "0")))
    raise Wrong(f"{text[:MAX_CHARACTERS]!r} is not a time such as 2025-01-17T09:30:00Z")


def time_of_seconds(seconds: float) -> Time:
    """Return the time that is this many seconds after 1970 began."""
    if not EARLIEST <= seconds * MICROSECONDS <= LATEST:
        raise Wrong(f"{exact(seconds)!s:.40} seconds after 1970 are {BEYOND}: divide milliseconds by 1000")
    return Time(round(seconds * MICROSECONDS))


def seconds_of_time(time: Time) -> int:
    """Return the whole seconds since 1970 began."""
    return time // MICROSECONDS


def parse_duration(text: str) -> Duration:
    """Return the duration that a text such as `1h30m`, `90s` or `-0.5s` stands for; raise `Wrong` if it is none."""
    if len(text) <= MAX_CHARACTERS and DURATION.fullmatch(text):
        seconds = sum(float(amount) * SECONDS[unit] for amount, unit in PARTS_OF_DURATION.findall(text))
        microseconds = round(seconds * MICROSECONDS)
        if microseconds <= LATEST - EARLIEST:
            return Duration(-microseconds if text.startswith("-") else microseconds)
    raise Wrong(f"{text[:MAX_CHARACTERS]!r} is not a duration such as 1h30m or 90s")


def shifted(time: int, duration: int) -> Time:
    """Return the time after a duration."""
    return _in_range(int(time) + int(duration))


def between(time: Time, earlier: Time) -> Duration:
    """Return the duration from one time to another."""
    return Duration(int(time) - int(earlier))


def sum_of(one: Duration, other: Duration) -> Duration:
    return Duration(int(one) + int(other))


def written_time(time: Time) -> str:
    """Return a time as text in RFC 3339, in UTC."""
    seconds, rest = divmod(int(time), MICROSECONDS)
    text: str = evaluator("string(timestamp(seconds))")(seconds=seconds)
    return text.replace("Z", f"{_fraction(rest)}Z")


def written_duration(duration: Duration) -> str:
    """Return a duration as text in seconds."""
    seconds, rest = divmod(abs(duration), MICROSECONDS)
    return f"{'-' if duration < 0 else ''}{seconds}{_fraction(rest)}s"


def _fraction(microseconds: int) -> str:
    """Return a part of a second as Protobuf writes it in JSON: with three digits, or six if it needs them."""
    if not microseconds:
        return ""
    return f".{microseconds:06}" if microseconds % 1000 else f".{microseconds // 1000:03}"


def check_zone(zone: str) -> None:
    """Raise `Wrong` if a text is no time zone such as Europe/Berlin or +02:00."""
    _part("getHours", zone)(Time(0), zone)


def _part(name: str, zone: str | None) -> Callable[..., int]:
    expression = f"timestamp(seconds).{name}({'' if zone is None else 'zone'})"

    def part(time: Time, zone: str | None = None) -> int:
        in_zone = {} if zone is None else {"zone": zone}
        try:
            if zone is not None and not ZONE.fullmatch(zone):
                raise ValueError(zone)
            found: int = evaluator(expression)(seconds=time // MICROSECONDS, **in_zone)
        except ValueError:
            named = (zone or "")[:MAX_CHARACTERS]
            raise Wrong(f"{named!r} is not a time zone such as Europe/Berlin or +02:00") from None
        return found

    return part


def _milliseconds(time: Time, zone: str = "UTC") -> int:
    check_zone(zone)
    return time // 1000 % 1000


CALENDAR = ("FullYear", "Month", "Date", "DayOfMonth", "DayOfWeek", "DayOfYear", "Hours", "Minutes", "Seconds")

TIME_PARTS: dict[str, tuple[Callable[..., int], Callable[..., int]]] = {
    **{f"get{name}": (_part(f"get{name}", None), _part(f"get{name}", "UTC")) for name in CALENDAR},
    "getMilliseconds": (_milliseconds, _milliseconds),
}
"""The functions for the parts of a time, in UTC and in a zone. Months and days count from 0, but for `getDate`."""


def _whole(unit: int) -> Callable[[Duration], int]:
    """Return a function that counts the whole units in a duration, towards zero."""
    return lambda duration: int(duration) // unit if duration >= 0 else -(-int(duration) // unit)


DURATION_PARTS: dict[str, Callable[[Duration], int]] = {
    "getHours": _whole(3600 * MICROSECONDS),
    "getMinutes": _whole(60 * MICROSECONDS),
    "getSeconds": _whole(MICROSECONDS),
    "getMilliseconds": lambda duration: _whole(1000)(duration) - 1000 * _whole(MICROSECONDS)(duration),
}
"""A duration in whole hours, minutes or seconds, and the milliseconds beyond its seconds."""
