"""A schedule of a line: when it is due, the record that enters the line then, and what becomes of missed ticks."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import islice
from typing import Any, Literal

import orjson

from metroline.agents.services.crontab import Crontab

Missed = Literal["latest", "all", "skip"]

LATE_MINUTES = 2
"""Minutes after which a tick counts as missed. A rebalance, or a worker that takes over, takes less."""

AT_ONCE = 100
"""Ticks of a schedule that are made up for together; the others follow at once."""

MINUTE_MS = 60_000

PARTITION = 0
"""The partition in which the records of schedules travel. Every line has it."""

ORIGIN = "schedule."
"""The beginning of the names of the origins of schedules."""


@dataclass(frozen=True, slots=True)
class Clock:
    """A schedule as the worker that follows it knows it. All times are in minutes since the epoch."""

    name: str
    entered: int
    last: int | None
    """The latest tick that entered; None if none did."""
    next: int | None
    """The tick that is due next, which is past if it is late; None if the line has the schedule no more."""


def schedule_origin(name: str) -> str:
    """Return the name of the origin of the records of a schedule. Their offsets are minutes since the epoch."""
    return f"{ORIGIN}{name}"


def schedule_of(origin: str) -> str | None:
    """Return the schedule whose records have this origin; None if it is not one of a schedule."""
    return origin.removeprefix(ORIGIN) if origin.startswith(ORIGIN) else None


@dataclass(frozen=True, slots=True)
class Due:
    """The ticks that are due, and the tick up to which nothing else is, all in minutes since the epoch."""

    ticks: tuple[int, ...]
    until: int
    skipped: bool = False
    """True if there were ticks before `until` for which no record enters."""


@dataclass(frozen=True, slots=True)
class Schedule:
    """A record that enters the line at the ticks of a crontab expression."""

    name: str
    crontab: Crontab
    record: dict[str, Any]
    missed: Missed = "latest"

    def line(self, tick: int) -> bytes:
        """Return the record of a tick as JSON."""
        return orjson.dumps({**self.record, "schedule": self.name, "scheduled_at": self.crontab.shown(tick)})

    def due(self, last: int, now: int) -> Due | None:
        """Return what is due at `now`, if `last` is the latest tick that is done; None if nothing is.

        With `latest`, only the latest tick that was missed is made up for, with `all` each, with `skip` none.
        """
        first = self.crontab.next_after(last)
        if first > now:
            return None
        if self.missed == "all":
            ticks = tuple(islice(self.crontab.ticks(last, now), AT_ONCE))
            return Due(ticks, ticks[-1])
        latest = self.crontab.latest_until(last, now)
        assert latest is not None
        if self.missed == "skip" and now - latest > LATE_MINUTES:
            return Due((), latest, skipped=True)
        return Due((latest,), latest, skipped=first < latest)
