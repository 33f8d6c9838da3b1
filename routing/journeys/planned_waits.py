"""Waits that a service plans with `Wait(until=…)` or `Wait(seconds=…)`: what is wrong with one, and where it leads."""

from __future__ import annotations

from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from metroline.routing.foreign_values import is_of, shown
from metroline.routing.journeys.departures import Departures
from metroline.routing.journeys.requested_waits import (
    MAX_TIME,
    MIN_WAIT_SECONDS,
    WaitRequest,
    is_between,
    time_of,
    with_wait,
)
from metroline.routing.journeys.retry_policy import RetryPolicy
from metroline.routing.messages.segment import Attempts, Segment
from metroline.routing.outcome import Outcome, Wait, sendable

AGAIN, NEXT = "again", "next"

MAX_PROGRESS_CHARACTERS = 200
"""Maximum number of characters of a progress, which travels in the header of an envelope."""


class PlannedWait(Struct, frozen=True):
    """A wait that a service asked for with `Wait`."""

    seconds: float
    """Length of the wait in seconds, unless `until` is given."""
    until: float | None
    """Time at which the wait ends, in seconds since the epoch."""
    goes_on: bool
    """True if the records continue after the wait, False if they come back to the service."""
    is_given: bool
    """True if the records wait as the service left them, False if they wait as they came."""
    progress: str = ""
    """Progress of the work that they wait for, as the service reports it."""

    @classmethod
    def of(cls, asked: Wait, record: Any) -> PlannedWait | str:
        """Return the wait that a service asked for, with the record that it gave, or what is wrong with it."""
        seconds, until, then = asked.seconds, asked.until, asked.then
        if (seconds is None) == (until is None):
            return "Wait() needs either until or seconds"
        if seconds is not None and not is_between(seconds, 0.0, MAX_TIME):
            return f"Wait(seconds={shown(seconds)}): seconds must be a number of seconds, 0 or more"
        end = None if until is None else time_of(until)
        if until is not None and end is None:
            return f"Wait(until={shown(until)}): until must be a datetime with a time zone, or seconds since the epoch"
        if type(then) is not str or then not in (AGAIN, NEXT):
            return f'Wait(then={shown(then)}): then must be "again" or "next"'
        if record is not None and not is_of(record, dict):
            return f"Wait(record={shown(record)}): the record must be a dict"
        if not is_of(asked.progress, str):
            return f"Wait(progress={shown(asked.progress)}): progress must be text"
        progress = " ".join(sendable(asked.progress).split())[:MAX_PROGRESS_CHARACTERS]
        goes_on = then == NEXT
        return cls(0.0 if seconds is None else float(seconds), end, goes_on, goes_on or record is not None, progress)

    def left(self, now: float) -> float:
        """Return the seconds from `now` to the end of the wait; negative if the end is past."""
        return self.seconds if self.until is None else self.until - now

    def granted(
        self, policy: RetryPolicy, max_age: float | None, entered: float, since: float, now: float
    ) -> float | Outcome:
        """Return the seconds for which the records wait, or their outcome, as `WaitRequest.granted` does."""
        wait = max(self.left(now), MIN_WAIT_SECONDS)
        progress = f" ({self.progress})" if self.progress else ""
        request = WaitRequest(f"its service asks for a wait of {wait:.0f} s{progress}", wait, None)
        return request.granted(policy, max_age, entered, since, now)


def waits_on(plan: PlannedWait | None, now: float) -> bool:
    """Return whether a record waits; one that is to continue at a time in the past does not."""
    return plan is not None and (not plan.goes_on or plan.left(now) > 0)


def send_waiting(
    departures: Departures,
    plan: PlannedWait,
    segment: Segment,
    stop: str,
    retries: RetryPolicy,
    max_age: float | None,
    now: float,
) -> Outcome | None:
    """Send records to a waiting room, from where they come back to the stop; `now` is in seconds since the epoch.

    Return their outcome instead if they may not wait for so long.
    """
    noted, waits = with_wait(segment, stop, now, plan.progress)
    wait = plan.granted(retries, max_age, segment.entered, waits.since, now)
    if isinstance(wait, Outcome):
        return wait
    before = None if plan.goes_on else segment.attempts
    kept = before if before is not None and before.stop == stop else Attempts(stop, (), now)
    waiting = replace(noted, attempts=kept._replace(due=now + wait), is_handled=plan.goes_on)
    departures.send_back(waiting, stop, wait)
    return None
