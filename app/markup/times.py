"""Times as a person reads them."""

from __future__ import annotations

from datetime import UTC, datetime


def iso(at: float | None) -> str | None:
    """Seconds since the epoch as ISO 8601 in UTC, to the millisecond; None for what is no time."""
    try:
        moment = datetime.fromtimestamp(float(at or 0), UTC)
    except (OverflowError, ValueError, OSError):  # publishers set their own clocks
        return None
    return None if at is None else moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
