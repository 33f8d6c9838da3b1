"""Waits that a service asks for with `Retry(after=…, until=…)`: how long they may be, and when they end."""

from __future__ import annotations

from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from metroline.routing.foreign_values import shown
from metroline.routing.journeys.retry_policy import RetryPolicy
from metroline.routing.messages.segment import Segment, Waits
from metroline.routing.outcome import Cause, Outcome, Retry

MAX_WAIT_SECONDS = 30 * 24 * 3600.0
"""Longest wait that a service may ask for at once: 30 days."""

MIN_WAIT_SECONDS = 0.2
"""Shortest wait, since a wait uses up no attempt."""

MAX_TIME = 1e15
"""Latest time, in seconds since the epoch."""


class WaitRequest(Struct, frozen=True):
    """A wait that a service asked for."""

    reason: str
    after: float
    """Least time before the next attempt, in seconds; 0 for the backoff of the retry policy."""
    until: float | None
    """Time after which the record is not tried again, in seconds since the epoch."""

    def granted(
        self, policy: RetryPolicy, max_age: float | None, entered: float, since: float, now: float
    ) -> float | Outcome:
        """Return the seconds for which the record waits, or its outcome if the next attempt would be too late.

        With a backoff, the seconds are the maximum. `entered` is when the journey began, and `since` when the service
        asked for the first wait, both in seconds since the epoch.
        """
        wait = max(self.after, MIN_WAIT_SECONDS)
        if max_age is not None and now + wait > entered + max_age:
            age = now + wait - entered
            return Outcome.dead(
                Cause.EXPIRED, f"the next attempt would be at an age of {age:.0f} s; at most {max_age:g} s are allowed"
            )
        waited = now - since
        if waited + wait > policy.wait_max:
            return self._refused(f"it has waited for {waited:.0f} s, and may wait for {policy.wait_max:g} s in all")
        if self.until is not None and now + wait > self.until:
            return self._refused("the next attempt would be later than its service allows with until")
        latest = min(since + policy.wait_max, MAX_TIME if self.until is None else self.until) - now
        return wait if self.after else latest

    def _refused(self, why: str) -> Outcome:
        return Outcome.dead(Cause.RETRIES_EXHAUSTED, f"{self.reason}; {why}" if self.reason else why)


def with_wait(segment: Segment, stop: str, now: float, progress: str = "") -> tuple[Segment, Waits]:
    """Return the segment with one more wait at this stop, and its waits there; `now` is in seconds since the epoch.

    A wait without progress keeps what was reported before.
    """
    before = segment.waits
    if before is None or before.stop != stop:
        waits = Waits(stop, now, 1, progress)
    else:
        waits = before._replace(times=before.times + 1, progress=progress or before.progress)
    return replace(segment, waits=waits), waits


def rest_of_wait(segment: Segment, now: float) -> float:
    """Return the seconds for which a segment still waits when it leaves a waiting room; 0 or less if its time has come.

    A wait that a service asked for never ends early: a rest that is shorter than any stay takes the shortest stay.
    """
    assert segment.attempts is not None
    left = segment.attempts.due - now
    return max(left, MIN_WAIT_SECONDS) if segment.waits is not None and left > 0 else left


def wait_problem(asked: Retry) -> str | None:
    """Return what is wrong with the times of a `Retry`; None if nothing is."""
    if not is_between(asked.after, 0.0, MAX_WAIT_SECONDS):
        return f"Retry(after={shown(asked.after)}): after must be a number of seconds from 0 to {MAX_WAIT_SECONDS:.0f}"
    if asked.until is not None and time_of(asked.until) is None:
        return (
            f"Retry(until={shown(asked.until)}): until must be a datetime with a time zone, or seconds since the epoch"
        )
    return None


def time_of(moment: Any) -> float | None:
    """Return a time in seconds since the epoch, given as such or as a `datetime`; None if it is neither.

    Moments of other libraries need not be times either: pandas has `NaT`, whose timestamp is NaN.
    """
    if type(moment) in (int, float):
        return float(moment) if is_between(moment, 0.0, MAX_TIME) else None
    if not hasattr(moment, "timestamp") or moment.utcoffset() is None:
        return None
    seconds = float(moment.timestamp())
    return seconds if abs(seconds) <= MAX_TIME else None


def is_between(number: Any, least: float, most: float) -> bool:
    """Return whether a value is a number, and not out of bounds."""
    return type(number) in (int, float) and least <= number <= most
