"""Puts the state of a running line into one line: how many records have which outcome, how fast, and how far behind."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from metroline.app.cli.lag_report import LagReport
from metroline.app.markup.numbers import count

OUTCOMES = ("delivered", "dropped", "dead")
"""The outcomes in the order in which they are shown."""


class LiveCounts:
    """Compares what workers say with what they said before."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        """`clock` returns seconds since any moment."""
        self._clock = clock
        self._lag = LagReport()
        self._totals: dict[str, int] = {}
        self._looked_at: float | None = None
        self._rate = 0.0
        self._retries: dict[str, int] = {}
        """Retries by worker; those of workers that have ended count on."""

    def look(self, outcomes: Mapping[str, Any] | None, traffic: Mapping[str, Mapping[str, Any]]) -> str:
        """Take the page `/table/outcomes/`, None if it did not come, and `/traffic/` by worker; return the line."""
        if outcomes is not None and "totals" in outcomes:  # a worker whose table is not recovered has none
            self._count(outcomes["totals"])
        self._retries |= {worker: answer["retries"] for worker, answer in traffic.items()}
        return "; ".join([self._outcomes(), *self._rest(traffic.values())])

    def _count(self, totals: Mapping[str, int]) -> None:
        """Take the outcomes so far, unless some are missing: workers that start have yet to recover their tables."""
        now, before, total = self._clock(), sum(self._totals.values()), sum(totals.values())
        if total < before:
            return
        if self._looked_at is not None and now > self._looked_at:
            self._rate = (total - before) / (now - self._looked_at)
        self._totals, self._looked_at = dict(totals), now

    def _outcomes(self) -> str:
        return ", ".join(f"{count(self._totals.get(name, 0))} {name}" for name in OUTCOMES)

    def _rest(self, traffic: Iterable[Mapping[str, Any]]) -> Iterable[str]:
        if retries := sum(self._retries.values()):
            yield f"{count(retries)} {'retry' if retries == 1 else 'retries'}"
        yield f"{self._rate:.0f} records/s"
        if lag := self._lag.look(traffic):
            yield lag
