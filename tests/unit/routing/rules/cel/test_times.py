"""Times and durations as real files write them: formats, bounds, zones, and times before 1970."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from metroline.routing.rules.cel.times import (
    EARLIEST,
    LATEST,
    TIME_PARTS,
    check_zone,
    parse_duration,
    parse_time,
    time_of_seconds,
    written_duration,
    written_time,
)
from metroline.routing.rules.cel.values import Duration, Time, Wrong
from metroline.routing.rules.condition import Condition
from tests.support.worlds import examples

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def microseconds(*parts: int) -> int:
    """Return the time of a date and a clock in UTC, in microseconds since 1970 began."""
    return (datetime(*parts, tzinfo=UTC) - EPOCH) // timedelta(microseconds=1)  # type: ignore[misc,arg-type]


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("2025-01-17T09:30:15Z", (2025, 1, 17, 9, 30, 15)),
        ("2025-01-17t09:30:15z", (2025, 1, 17, 9, 30, 15)),
        ("2025-01-17 09:30:15", (2025, 1, 17, 9, 30, 15)),
        ("2025-01-17T09:30:15", (2025, 1, 17, 9, 30, 15)),
        ("2025-01-17T09:30", (2025, 1, 17, 9, 30)),
        ("2025-01-17T09:30Z", (2025, 1, 17, 9, 30)),
        ("2025-01-17", (2025, 1, 17)),
        ("2025-01-17T09:30:15+08:00", (2025, 1, 17, 1, 30, 15)),
        ("2025-01-17T09:30:15+0800", (2025, 1, 17, 1, 30, 15)),
        ("2025-01-17T09:30:15 +0800", (2025, 1, 17, 1, 30, 15)),
        ("2025-01-17 09:30:15-0330", (2025, 1, 17, 13, 0, 15)),
        ("2025-01-17T09:30:15+08", (2025, 1, 17, 1, 30, 15)),
        ("2025-01-17T09:30:15-00:00", (2025, 1, 17, 9, 30, 15)),
        ("2025-01-17T09:30:15.5Z", (2025, 1, 17, 9, 30, 15, 500_000)),
        ("2025-01-17T09:30:15,25+01:00", (2025, 1, 17, 8, 30, 15, 250_000)),
        ("2025-01-17T09:30:15.123456789Z", (2025, 1, 17, 9, 30, 15, 123_456)),
        ("2025-01-17T09:30:15.000001", (2025, 1, 17, 9, 30, 15, 1)),
        ("2024-02-29", (2024, 2, 29)),
        ("1969-12-31T23:59:59.75Z", (1969, 12, 31, 23, 59, 59, 750_000)),
        ("0001-01-01T00:00:00Z", (1, 1, 1)),
        ("9999-12-31T23:59:59.999999Z", (9999, 12, 31, 23, 59, 59, 999_999)),
    ],
)
def test_a_time_is_read_in_the_formats_of_real_files(text: str, parts: tuple[int, ...]) -> None:
    assert parse_time(text) == microseconds(*parts)


@pytest.mark.parametrize(
    "text",
    [
        *("", "now", "17.01.2025", "2025-1-17", "2025-01", "20250117", "2025-01-17T", "2025-01-17T9:30", "09:30:15"),
        *("2025-02-29", "2025-13-01", "2025-00-10", "2025-01-00", "2025-04-31T00:00:00Z"),
        *("2025-01-17T24:00:00Z", "2025-01-17T09:60:00Z", "2025-01-17T09:30:61Z", "2025-01-17T09:30:15.Z"),
        *("2025-01-17T09:30:15+8", "2025-01-17T09:30:15+24:00", "2025-01-17T09:30:15+08:60", "2025-01-17T09:30:15 UTC"),
        *("2025-01-17Z", "2025-01-17T09:30:15ZZ", " 2025-01-17", "2025-01-17 ", "2025-01-17T09:30:15Z\n"),
        *("٢٠٢٥-01-17", "2025-01-17T09:30:15.1234567890Z", "0000-01-01", "10000-01-01", "-2025-01-17", "x" * 1_000),
        *("0001-01-01T00:00:00+01:00", "9999-12-31T23:59:59-01:00", "2025-01-17T09:30:15Z\0"),
    ],
)
def test_what_is_no_time_is_told_with_an_example(text: str) -> None:
    with pytest.raises(Wrong) as caught:
        parse_time(text)
    assert "is not a time such as 2025-01-17T09:30:00Z" in str(caught.value) or "beyond the years" in str(caught.value)
    assert len(str(caught.value)) < 150


@given(st.datetimes(min_value=datetime(1, 1, 1), max_value=datetime(9999, 12, 31, 23, 59, 59, 999_999)))  # noqa: DTZ001 - in UTC
@examples(60)
def test_a_time_that_is_written_is_read_as_the_same_time(at: datetime) -> None:
    time = parse_time(at.isoformat())
    assert time == (at.replace(tzinfo=UTC) - EPOCH) // timedelta(microseconds=1)
    assert parse_time(written_time(time)) == time
    year, month, day = (TIME_PARTS[name][0](time) for name in ("getFullYear", "getMonth", "getDate"))
    assert (year, month + 1, day) == (at.year, at.month, at.day)


def test_seconds_since_1970_are_a_time_and_milliseconds_are_after_a_division() -> None:
    assert time_of_seconds(0) == 0
    assert time_of_seconds(1_737_106_215) == time_of_seconds(1_737_106_215.0) == parse_time("2025-01-17T09:30:15Z")
    assert time_of_seconds(1_737_106_215_250 / 1_000) == parse_time("2025-01-17T09:30:15.25Z")
    assert time_of_seconds(-0.25) == parse_time("1969-12-31T23:59:59.75Z")
    with pytest.raises(Wrong, match=r"^1737106215250 seconds after 1970 are beyond .*: divide milliseconds by 1000$"):
        time_of_seconds(1_737_106_215_250)


@pytest.mark.parametrize("seconds", [EARLIEST // 10**6, LATEST // 10**6])
def test_the_first_and_the_last_second_are_times_and_none_before_or_after(seconds: int) -> None:
    assert time_of_seconds(seconds) == seconds * 10**6
    beyond = seconds + (1 if seconds > 0 else -1)
    with pytest.raises(Wrong, match="beyond the years 1 to 9999"):
        time_of_seconds(beyond)


@pytest.mark.parametrize(
    ("text", "duration"),
    [
        *(
            ("0", 0),
            ("-0", 0),
            ("1s", 10**6),
            ("1h30m", 5_400 * 10**6),
            ("1.5h", 5_400 * 10**6),
            ("90m", 5_400 * 10**6),
        ),
        *(("500ms", 500_000), ("0.5s", 500_000), (".5s", 500_000), ("1us", 1), ("1µs", 1), ("1500ns", 2), ("1ns", 0)),
        *(("-1h", -3_600 * 10**6), ("-1m30s", -90 * 10**6), ("+1s", 10**6), ("24h0m0s", 86_400 * 10**6)),
        *(("1m1h", 3_660 * 10**6), ("87600h", 315_360_000 * 10**6)),
    ],
)
def test_a_duration_is_read_in_units_from_hours_to_nanoseconds(text: str, duration: int) -> None:
    assert parse_duration(text) == duration


@pytest.mark.parametrize(
    "text", ["", "5", "-", "1d", "1 h", "h", "1h-30m", "1H", "1s ", "--1s", "1.2.3s", "1e3s", "٣s", "1" * 400 + "s"]
)
def test_what_is_no_duration_is_told_with_an_example(text: str) -> None:
    with pytest.raises(Wrong, match="is not a duration such as 1h30m or 90s"):
        parse_duration(text)


def test_durations_are_written_in_seconds() -> None:
    written = [written_duration(Duration(duration)) for duration in (0, 10**6, -90 * 10**6, -1_500_000, 1)]
    assert written == ["0s", "1s", "-90s", "-1.500s", "0.000001s"]


def test_a_zone_is_a_name_or_an_offset() -> None:
    for zone in ("Europe/Berlin", "UTC", "+02:00", "-09:30", "02:00", "America/St_Johns"):
        check_zone(zone)
    for zone in (
        "Berlin",
        "+0200",
        "Z",
        "europe/berlin",
        "../../etc/passwd",
        "localtime",
        "/etc/localtime",
        "posixrules",
        "x" * 1_000,
        "a\0b",
    ):
        with pytest.raises(Wrong, match="is not a time zone such as Europe/Berlin or") as caught:
            check_zone(zone)
        assert len(str(caught.value)) < 150


def test_summer_time_and_a_day_before_1970_are_those_of_the_zone() -> None:
    hours = TIME_PARTS["getHours"][1]
    assert hours(parse_time("2025-03-30T00:59:00Z"), "Europe/Berlin") == 1
    assert hours(parse_time("2025-03-30T01:00:00Z"), "Europe/Berlin") == 3
    assert TIME_PARTS["getDate"][1](Time(-1), "+01:00") == 1
    assert TIME_PARTS["getMilliseconds"][0](Time(-1)) == 999
    for of_time, in_zone in TIME_PARTS.values():
        assert of_time(Time(-1)) == in_zone(Time(-1), "UTC")
        with pytest.raises(Wrong, match="is not a time zone"):
            in_zone(Time(0), "Nowhere")


@pytest.mark.parametrize(
    ("condition", "record"),
    [
        (
            "timestamp(at) >= timestamp('2025-01-17') && timestamp(at).getHours('+08:00') == 9",
            {"at": "2025-01-17T09:30:15+0800"},
        ),
        ("timestamp(ms / 1000) - timestamp(at) == duration('250ms')", {"ms": 1_737_106_215_250, "at": 1_737_106_215}),
        ("timestamp(at) < timestamp(meta_at) + duration('24h')", {"at": "2025-01-17", "meta_at": "2025-01-16 12:00"}),
        ("timestamp(at).getFullYear() == 1969", {"at": -1}),
        ("!has(record.at) || timestamp(at) > timestamp(0)", {}),
    ],
)
def test_conditions_compare_times(condition: str, record: dict[str, Any]) -> None:
    assert Condition.compile(condition).holds(record)
