"""Says on the terminal when a running line falls behind, and when it has caught up."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

BEHIND_SECONDS = 1.0
"""Age of the oldest waiting record from which a line is behind."""

CHANGE_SECONDS = 0.1
"""Difference between two looks from which the age grows or shrinks."""


class LagReport:
    """Puts the lag of a line into words, from one look at its workers to the next."""

    def __init__(self) -> None:
        self._before: float | None = None
        """Age of the oldest waiting record at the last look, in seconds, if the line was behind."""

    def look(self, traffic: Iterable[Mapping[str, Any]]) -> str | None:
        """Take what the workers say at `/traffic/`; return a line for the terminal, or None if the line keeps up."""
        behind = seconds_behind(traffic)
        before, self._before = self._before, behind if behind >= BEHIND_SECONDS else None
        if self._before is None:
            return None if before is None else "the line has caught up"
        return f"behind by {behind:.0f} s{_trend(before, behind)}"


def seconds_behind(traffic: Iterable[Mapping[str, Any]]) -> float:
    """Return the age of the oldest record that waits, in seconds, by what the workers say at `/traffic/`."""
    return max((max(one["behind"], one["behind_bus"]) for one in traffic), default=0.0)


def _trend(before: float | None, now: float) -> str:
    if before is None:
        return ""
    if abs(now - before) < CHANGE_SECONDS:
        return ""
    return ", growing" if now > before else ", shrinking"
