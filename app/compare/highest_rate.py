"""Searches the highest rate that a system holds: its sustainable throughput (Karimov et al., ICDE 2018)."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

HELD_P99_MS = 500.0
"""A rate is held if every record comes through in time and 99 of 100 take no longer than this."""
PRECISION = 1.15
"""Ratio of a rate that was missed to one that was held from which on the search ends."""
SIGNIFICANT_DIGITS = 2


@dataclass(slots=True)
class RateSearch:
    """Tries `start` first, then doubles it or takes a quarter of it, then bisects; rates are records per second."""

    start: float
    floor: float = 10.0
    ceiling: float = 50_000.0
    max_tries: int = 10
    held: float | None = None
    """The highest rate that was held."""
    tries: int = 0
    _misses: set[float] = field(default_factory=set)

    def note(self, rate: float, *, held: bool) -> None:
        """Note the result of a try."""
        self.tries += 1
        if not held:
            self._misses.add(rate)
        elif self.held is None or rate > self.held:
            self.held = rate

    @property
    def missed(self) -> float | None:
        """The lowest rate that was not held; one below a rate that was held was missed for another reason."""
        return min((rate for rate in self._misses if self.held is None or rate > self.held), default=None)

    def next_rate(self) -> float | None:
        """Return the rate to try next, or None when the search is over."""
        if self.tries >= self.max_tries:
            return None
        missed = self.missed
        if missed is None:
            return self.start if self.held is None else self._above(self.held)
        return self._below(missed) if self.held is None else _between(self.held, missed)

    def _above(self, held: float) -> float | None:
        return min(2 * held, self.ceiling) if held < self.ceiling else None

    def _below(self, missed: float) -> float | None:
        return max(self.floor, _rounded(missed / 4)) if missed > self.floor else None


def _between(held: float, missed: float) -> float | None:
    middle = _rounded(math.sqrt(held * missed))
    return middle if missed / held > PRECISION and held < middle < missed else None


def _rounded(rate: float) -> float:
    """Return the rate with two significant digits."""
    return round(rate, SIGNIFICANT_DIGITS - 1 - math.floor(math.log10(rate)))
