"""Crontab expressions: the ticks of each, where the clocks change as well, and the texts that are refused."""

from __future__ import annotations

from datetime import datetime

import pytest

from metroline.agents.services.crontab import Crontab, InvalidCrontab
from metroline.agents.services.schedule import Due, Missed, Schedule


def minute(text: str) -> int:
    return int(datetime.fromisoformat(text).timestamp()) // 60


def ticks(expression: str, zone: str, since: str, until: str) -> list[str]:
    crontab = Crontab(expression, zone)
    return [crontab.shown(tick)[:-3] for tick in crontab.ticks(minute(since), minute(until))]


@pytest.mark.parametrize(
    ("expression", "since", "until", "expected"),
    [
        (
            "30 2 * * *",
            "2026-03-27T12:00Z",
            "2026-03-30T12:00Z",
            ["2026-03-28T02:30:00+01", "2026-03-29T03:30:00+02", "2026-03-30T02:30:00+02"],
        ),
        (
            "30 2 * * *",
            "2026-10-24T12:00Z",
            "2026-10-26T12:00Z",
            ["2026-10-25T02:30:00+02", "2026-10-26T02:30:00+01"],
        ),
        (
            "*/30 * * * *",
            "2026-10-25T00:00Z",
            "2026-10-25T02:00Z",
            ["2026-10-25T02:30:00+02", "2026-10-25T02:00:00+01", "2026-10-25T02:30:00+01", "2026-10-25T03:00:00+01"],
        ),
        (
            "15 2,3 * * *",
            "2026-03-29T00:00Z",
            "2026-03-29T12:00Z",
            ["2026-03-29T03:15:00+02"],
        ),
    ],
    ids=["in a gap", "once of two", "throughout", "in a gap and behind it"],
)
def test_ticks_where_the_clocks_change(expression: str, since: str, until: str, expected: list[str]) -> None:
    assert ticks(expression, "Europe/Berlin", since, until) == expected


def test_every_minute_around_both_changes_is_a_tick_of_five_stars() -> None:
    crontab = Crontab("* * * * *", "America/New_York")
    for change in ("2026-03-08T07:00Z", "2026-11-01T06:00Z"):
        begin = minute(change) - 90
        assert list(crontab.ticks(begin, begin + 180)) == list(range(begin + 1, begin + 181))


def test_the_latest_tick_is_the_last_of_all_ticks() -> None:
    for expression in ("* * * * *", "0 3 * * mon", "0 12 1 1 *", "@monthly"):
        crontab = Crontab(expression)
        since, until = minute("2025-02-03T00:00Z"), minute("2026-02-03T04:05Z")
        window = since if expression != "* * * * *" else until - 5
        assert crontab.latest_until(since, until) == list(crontab.ticks(window, until))[-1]
    assert Crontab("0 12 1 1 *").latest_until(minute("2026-01-02T00:00Z"), minute("2026-12-31T00:00Z")) is None


@pytest.mark.parametrize(
    ("expression", "problem"),
    [
        ("* * * *", "it has five fields"),
        ("0 0 * * * *", "it has five fields"),
        ("61 * * * *", "out of range"),
        ("0 0 30 2 *", "no month has this day"),
        ("@reboot", "is no crontab expression"),
        ("H 2 * * *", "which crontab does not know"),
        ("0 2 ? * *", "which crontab does not know"),
        ("0 2 * * someday", "is no crontab expression"),
        ("", "it has five fields"),
    ],
)
def test_what_is_no_crontab_expression_is_refused(expression: str, problem: str) -> None:
    with pytest.raises(InvalidCrontab, match=problem):
        Crontab(expression)


@pytest.mark.parametrize("zone", ["Mars/Olympus", "../etc/passwd", "", "/etc/localtime"])
def test_a_time_zone_that_does_not_exist_is_refused(zone: str) -> None:
    with pytest.raises(InvalidCrontab, match="there is no time zone"):
        Crontab("0 2 * * *", zone)


@pytest.mark.parametrize(
    ("missed", "now", "due"),
    [
        ("latest", 61, None),
        ("latest", 121, Due((120,), 120)),
        ("latest", 200, Due((180,), 180, skipped=True)),
        ("all", 200, Due((120, 180), 180)),
        ("skip", 182, Due((180,), 180, skipped=True)),
        ("skip", 183, Due((), 180, skipped=True)),
    ],
)
def test_missed_ticks_are_made_up_for_as_the_schedule_says(missed: Missed, now: int, due: Due | None) -> None:
    assert Schedule("hourly", Crontab("0 * * * *"), {}, missed).due(60, now) == due
