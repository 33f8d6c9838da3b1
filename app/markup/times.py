"""Times as ISO 8601 in UTC."""

from __future__ import annotations

from datetime import UTC, datetime


def iso(at: float | None) -> str | None:
    """Return seconds since the epoch as ISO 8601 in UTC, to the millisecond.

    None stays None, and so does a number that no calendar has: publishers set their own clocks.
    """
    try:
        moment = datetime.fromtimestamp(float(at or 0), UTC)
    except (OverflowError, ValueError, OSError):
        return None
    return None if at is None else moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
