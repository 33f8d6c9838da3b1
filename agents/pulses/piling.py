"""Notes since when each place of a worker has been behind. No I/O and no clock."""

from __future__ import annotations

from collections.abc import Mapping

CAUGHT_UP_SECONDS = 2.0
"""Age of the oldest waiting message up to which a place is not behind: what has just arrived always waits."""


class Piling:
    """The places at which messages wait longer than for a moment, and since when they have not caught up.

    It is kept by the worker that has the messages, since whoever reads its pulses reads those of a few minutes.
    """

    def __init__(self) -> None:
        self._since: dict[str, float] = {}

    def observe(self, waiting: Mapping[str, int], oldest: Mapping[str, float], now: float) -> Mapping[str, float]:
        """Return the time since which each place has been behind, in seconds since the epoch.

        `waiting` are the messages that are not done and `oldest` the ages of the oldest ones, by address. A place where
        messages wait whose age is not known is not known to have caught up. One that is already behind when it is first
        seen has been so for at least as long as its oldest message has waited.
        """
        self._since = {
            address: min(self._since.get(address, now), now - oldest.get(address, 0.0))
            for address, count in waiting.items()
            if count and not self._has_caught_up(oldest.get(address))
        }
        return self._since

    @staticmethod
    def _has_caught_up(age: float | None) -> bool:
        return age is not None and age <= CAUGHT_UP_SECONDS
