"""The JSON form of Avro's values: each way loses nothing.

What Avro writes as numbers or bytes and people read otherwise is text in JSON: decimals, dates, times, UUIDs. A date or
time outside the years 1 to 9999, which ISO 8601 does not write, is the number that Avro has. Bytes are base64.
"""

from __future__ import annotations

import base64
import binascii
import math
import re
import uuid
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from functools import partial
from typing import Any, NamedTuple

from metroline.agents.formats.unfit import expected

Read = Callable[[Any], Any]
"""Turns a value of Avro's reader into its JSON form; None in its place means that both are the same."""

Write = Callable[[Any], Any]
"""Turns a JSON form into the value for Avro's writer; raises `Unfit`."""

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
EPOCH_DAY = date(1970, 1, 1).toordinal()
FIRST_SECOND = int((datetime(1, 1, 1, tzinfo=UTC) - EPOCH).total_seconds())
LAST_SECOND = int((datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC) - EPOCH).total_seconds())
DAY_SECONDS = 86_400

MAX_FLOAT = 3.4028235677973366e38
"""The first number that rounds to no float of 32 bits."""

SPECIAL = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}
"""Floating-point numbers that JSON does not have, as the JSON form of Protobuf names them."""

DECIMAL = re.compile(r"(-?)([0-9]+)(?:\.([0-9]+))?")
TIME = re.compile(r"([0-9]{2}):([0-9]{2}):([0-9]{2})(?:\.([0-9]{1,9}))?")
MOMENT = re.compile(
    r"([0-9]{4}-[0-9]{2}-[0-9]{2}[T ][0-9]{2}:[0-9]{2}:[0-9]{2})(?:\.([0-9]{1,9}))?(Z|[+-][0-9]{2}:[0-9]{2})?"
)


class Form(NamedTuple):
    """The JSON form of a type."""

    read: Read | None
    write: Write
    kinds: frozenset[str]
    """The JSON kinds that its values have."""


def whole(bits: int) -> Form:
    """Return the form of integers of so many bits: numbers."""
    return Form(None, partial(_write_whole, bits, -(2 ** (bits - 1)), 2 ** (bits - 1)), frozenset({"number"}))


def _write_whole(bits: int, least: int, end: int, value: Any) -> int:
    if type(value) is float and value.is_integer():
        value = int(value)
    if type(value) is not int:
        raise expected(f"an integer of {bits} bits", value)
    if not least <= value < end:
        raise expected(f"an integer of {bits} bits", value)
    return value


def floating(largest: float) -> Form:
    """Return the form of floating-point numbers below `largest`: numbers, or the names in `SPECIAL`."""
    return Form(_read_floating, partial(_write_floating, largest), frozenset({"number", "string"}))


def _read_floating(value: float) -> float | str:
    if math.isfinite(value):
        return value
    return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"


def _write_floating(largest: float, value: Any) -> float:
    if type(value) is float and abs(value) < largest:
        return value
    if type(value) is int and abs(value) < largest and int(float(value)) == value:
        return float(value)
    if type(value) is str and value in SPECIAL:
        return SPECIAL[value]
    raise expected("a number that fits into its bits", value)


def _write_as(kind: type, what: str, value: Any) -> Any:
    if type(value) is not kind:
        raise expected(what, value)
    return value


NULL = Form(None, partial(_write_as, type(None), "null"), frozenset({"null"}))
BOOLEAN = Form(None, partial(_write_as, bool, "true or false"), frozenset({"boolean"}))
STRING = Form(None, partial(_write_as, str, "a string"), frozenset({"string"}))


def encoded_bytes(size: int | None = None) -> Form:
    """Return the form of bytes, `size` of them unless it is None: base64."""
    return Form(_read_bytes, partial(_write_bytes, size), frozenset({"string"}))


def _read_bytes(value: bytes) -> str:
    return base64.b64encode(value).decode()


def _write_bytes(size: int | None, value: Any) -> bytes:
    try:
        decoded = base64.b64decode(_write_as(str, "base64", value), validate=True)
    except (binascii.Error, ValueError):
        raise expected("base64", value) from None
    if size is not None and len(decoded) != size:
        raise expected(f"base64 of {size} bytes", value)
    return decoded


def enum(symbols: frozenset[str]) -> Form:
    """Return the form of an enumeration: the name of the symbol."""
    return Form(None, partial(_write_symbol, symbols), frozenset({"string"}))


def _write_symbol(symbols: frozenset[str], value: Any) -> str:
    if type(value) is not str or value not in symbols:
        raise expected(f"one of {', '.join(sorted(symbols))}", value)
    return value


def decimal(precision: int, scale: int, size: int | None) -> Form:
    """Return the form of decimals in bytes, `size` of them unless it is None: text, `scale` digits after the point."""
    write = partial(_write_decimal, precision, scale, size)
    return Form(partial(_read_decimal, scale), write, frozenset({"string", "number"}))


def _read_decimal(scale: int, value: bytes) -> str:
    unscaled = int.from_bytes(value, "big", signed=True)
    digits = str(abs(unscaled)).rjust(scale + 1, "0")
    text = f"{digits[:-scale]}.{digits[-scale:]}" if scale else digits
    return f"-{text}" if unscaled < 0 else text


def _write_decimal(precision: int, scale: int, size: int | None, value: Any) -> bytes:
    text = value
    if type(value) is int or (type(value) is float and math.isfinite(value)):
        text = f"{Decimal(repr(value)):f}"
    found = DECIMAL.fullmatch(text) if type(text) is str else None
    if found is None:
        raise expected('a decimal, such as "12.50"', value)
    sign, before, after = found[1], found[2], (found[3] or "").rstrip("0")
    digits = (before + after.ljust(scale, "0")).lstrip("0")
    if len(after) > scale or len(digits) > precision:
        raise expected(f"a decimal of {precision} digits, {scale} of them after the point", value)
    unscaled = int(f"{sign}{digits or '0'}")
    width = (unscaled if unscaled >= 0 else ~unscaled).bit_length() // 8 + 1
    if size is not None and width > size:
        raise expected(f"a decimal that fits into {size} bytes", value)
    return unscaled.to_bytes(size or width, "big", signed=True)


def uuid_bytes() -> Form:
    """Return the form of UUIDs in 16 bytes: text."""
    return Form(lambda value: str(uuid.UUID(bytes=value)), _write_uuid, frozenset({"string"}))


def _write_uuid(value: Any) -> bytes:
    try:
        return uuid.UUID(_write_as(str, "a UUID", value)).bytes
    except ValueError:
        raise expected("a UUID", value) from None


def day(underlying: Form) -> Form:
    """Return the form of days since 1970: `2026-11-27`."""
    return Form(_read_day, partial(_write_or_number, underlying, _write_day), frozenset({"string", "number"}))


def _read_day(value: int) -> str | int:
    try:
        return date.fromordinal(EPOCH_DAY + value).isoformat()
    except (ValueError, OverflowError):
        return value


def _write_day(text: str) -> int:
    try:
        return date.fromisoformat(text).toordinal() - EPOCH_DAY
    except ValueError:
        raise expected('a date, such as "2026-11-27"', text) from None


def time_of_day(digits: int, underlying: Form) -> Form:
    """Return the form of times of a day, in units of 10^-digits seconds: `10:15:30.123`."""
    write = partial(_write_or_number, underlying, partial(_write_time, digits))
    return Form(partial(_read_time, digits), write, frozenset({"string", "number"}))


def _read_time(digits: int, value: int) -> str | int:
    seconds, fraction = divmod(value, 10**digits)
    return f"{_clock(seconds)}.{fraction:0{digits}}" if 0 <= seconds < DAY_SECONDS else value


def _clock(seconds: int) -> str:
    return f"{seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}"


def _write_time(digits: int, text: str) -> int:
    found = TIME.fullmatch(text)
    if found is None or int(found[1]) > 23 or int(found[2]) > 59 or int(found[3]) > 59:
        raise expected('a time, such as "10:15:30.123"', text)
    seconds = int(found[1]) * 3600 + int(found[2]) * 60 + int(found[3])
    return int(seconds * 10**digits) + _fraction(digits, found[4], text)


def moment(digits: int, underlying: Form, *, is_local: bool) -> Form:
    """Return the form of moments in units of 10^-digits seconds since 1970: `2026-11-27T10:15:30.123Z`.

    The `Z` is missing in a local time, which has no time zone.
    """
    write = partial(_write_or_number, underlying, partial(_write_moment, digits, is_local))
    return Form(partial(_read_moment, digits, "" if is_local else "Z"), write, frozenset({"string", "number"}))


def _read_moment(digits: int, zone: str, value: int) -> str | int:
    seconds, fraction = divmod(value, 10**digits)
    if not FIRST_SECOND <= seconds <= LAST_SECOND:
        return value
    days, rest = divmod(seconds, DAY_SECONDS)
    return f"{date.fromordinal(EPOCH_DAY + days).isoformat()}T{_clock(rest)}.{fraction:0{digits}}{zone}"


def _write_moment(digits: int, is_local: bool, text: str) -> int:
    example = f"2026-11-27T10:15:30.123{'' if is_local else 'Z'}"
    found = MOMENT.fullmatch(text)
    if found is None or (found[3] is None) is not is_local:
        raise expected(f'a time, such as "{example}"', text)
    try:
        at = datetime.fromisoformat(f"{found[1]}{found[3] or 'Z'}")
    except ValueError:
        raise expected(f'a time, such as "{example}"', text) from None
    return int((at - EPOCH) // timedelta(seconds=1) * 10**digits) + _fraction(digits, found[2], text)


def _fraction(digits: int, text: str | None, whole_text: str) -> int:
    """Return a fraction of a second in units of 10^-digits seconds."""
    fraction = (text or "").rstrip("0")
    if len(fraction) > digits:
        raise expected(f"a time with {digits} digits after the point", whole_text)
    return int(fraction.ljust(digits, "0") or "0")


def _write_or_number(underlying: Form, write: Callable[[str], int], value: Any) -> Any:
    """Write text by `write`; any other value has to be the number that Avro has."""
    if type(value) is not str:
        return underlying.write(value)
    written = write(value)
    return underlying.write(written)
