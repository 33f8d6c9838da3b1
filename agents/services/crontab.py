"""Times of a schedule: a crontab expression in a time zone, as minutes since the epoch."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from croniter import CroniterBadDateError, croniter
from croniter.croniter import CroniterError

FIELDS = 5
"""Minute, hour, day of the month, month, day of the week."""

NEAR_A_CHANGE = timedelta(hours=3)
"""Time around a change of the clocks in which local times may be missing, or come twice."""

FIRST_WINDOW = 60
"""Minutes that are searched first for the latest tick; the window grows until there is one in it."""


class InvalidCrontab(ValueError):
    """Raised for a text that is no crontab expression, or a time zone that does not exist."""


class Crontab:
    """The ticks of a crontab expression with five fields, in a time zone.

    Where the clocks go forward, a time that does not exist counts as the one that the clocks show then: 02:30 as 03:30.
    Where they go back, an expression that names hours is due once, the first time; one with `*` as its hour is due
    throughout.
    """

    def __init__(self, text: str, zone: str = "UTC") -> None:
        self._text = text.strip()
        try:
            self._zone = ZoneInfo(zone)
        except (OSError, ValueError, KeyError) as error:  # ZoneInfoNotFoundError is a KeyError
            raise InvalidCrontab(
                f"there is no time zone {zone!r}: write one of the IANA database, such as 'Europe/Berlin'"
            ) from error
        fields = self._text.split()
        if not self._text.startswith("@") and len(fields) != FIELDS:
            raise InvalidCrontab(
                f"{text!r} is no crontab expression: it has five fields, minute, hour, day of the month, month and "
                "day of the week, as in '30 2 * * *'"
            )
        if "?" in self._text or any(field.upper().startswith(("H", "R")) for field in fields):
            raise InvalidCrontab(f"{text!r} is no crontab expression: it has ?, H or R, which crontab does not know")
        try:
            expanded, _ = croniter.expand(self._text)
            self._is_hourly = expanded[1] == ["*"] or len(expanded[1]) == 24 or fields[1:2] == ["*"]
            self.next_after(0)
        except CroniterBadDateError as error:
            raise InvalidCrontab(f"{text!r} never comes: no month has this day") from error
        except (CroniterError, ValueError, KeyError, IndexError) as error:
            raise InvalidCrontab(f"{text!r} is no crontab expression: {error}") from error

    def next_after(self, minute: int) -> int:
        """Return the first tick that is later than a minute, both in minutes since the epoch."""
        after = datetime.fromtimestamp(minute * 60, self._zone)
        found = self._instant(next(self._local_times(after)), fold=0)
        if found > minute and self._is_steady(minute) and self._is_steady(found):
            return found
        return self._next_near_a_change(minute, after)

    def latest_until(self, since: int, until: int) -> int | None:
        """Return the latest tick after `since` that is not later than `until`; None if there is none."""
        window = FIRST_WINDOW
        while True:
            begin = max(since, until - window)
            latest = None
            for tick in self.ticks(begin, until):
                latest = tick
            if latest is not None or begin == since:
                return latest
            window *= 24

    def ticks(self, since: int, until: int) -> Iterator[int]:
        """Yield the ticks after `since` that are not later than `until`."""
        tick = self.next_after(since)
        while tick <= until:
            yield tick
            tick = self.next_after(tick)

    def shown(self, minute: int) -> str:
        """Return a tick in ISO 8601, with the offset of the time zone."""
        return datetime.fromtimestamp(minute * 60, self._zone).isoformat()

    def _local_times(self, after: datetime) -> Iterator[datetime]:
        """Yield the local times after a time that fit the expression, without a zone."""
        times = croniter(self._text, after.replace(tzinfo=None, fold=0))
        while True:
            yield times.get_next(datetime)

    def _is_steady(self, minute: int) -> bool:
        """Return whether the clocks are not changed shortly before or after a minute."""
        at = datetime.fromtimestamp(minute * 60, UTC)
        around = (at - NEAR_A_CHANGE, at, at + NEAR_A_CHANGE)
        return len({place.astimezone(self._zone).utcoffset() for place in around}) == 1

    def _next_near_a_change(self, minute: int, after: datetime) -> int:
        candidates: list[int] = []
        naive = after.replace(tzinfo=None)
        for local in self._local_times(after.replace(tzinfo=None) - NEAR_A_CHANGE):
            candidates += [self._instant(local, fold=fold) for fold in ((0, 1) if self._is_hourly else (0,))]
            later = [one for one in candidates if one > minute]
            if later and local > naive + NEAR_A_CHANGE:
                return min(later)
        raise AssertionError("there is always a next time")

    def _instant(self, local: datetime, *, fold: int) -> int:
        """Return the minute of a local time; the second time that it comes with `fold=1`, if it comes twice."""
        return int(local.replace(tzinfo=self._zone, fold=fold).timestamp()) // 60
