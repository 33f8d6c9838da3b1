"""Counts what a running line does: how many records have which outcome, how fast, and how far behind it is."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

from metroline.app.cli.lag_report import LagReport, seconds_behind
from metroline.app.cli.live.events import Counts

OUTCOMES = ("delivered", "dropped", "dead")


class LiveCounts:
    """Compares what workers say with what they said before."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        """`clock` returns seconds since any moment."""
        self.latest = Counts()
        """The findings of the last look."""
        self._clock = clock
        self._lag = LagReport()
        self._totals: dict[str, int] = {}
        self._scheduled = 0
        self._looked_at: float | None = None
        self._rate = 0.0
        self._retries: dict[str, int] = {}
        """Retries by worker; those of workers that have ended count on."""

    def look(self, outcomes: Mapping[str, Any] | None, traffic: Mapping[str, Mapping[str, Any]]) -> Counts:
        """Take the page `/table/outcomes/`, None if it did not come, and `/traffic/` by worker; return the counts."""
        if outcomes is not None and "totals" in outcomes:  # a worker whose table is not recovered has none
            self._count(outcomes["totals"], sum(outcomes.get("scheduled", {}).values()))
        self._retries |= {worker: answer["retries"] for worker, answer in traffic.items()}
        self.latest = Counts(
            **{name: self._totals.get(name, 0) for name in OUTCOMES},
            scheduled=self._scheduled,
            retries=sum(self._retries.values()),
            records_per_second=self._rate,
            behind=seconds_behind(traffic.values()),
            lag=self._lag.look(traffic.values()),
        )
        return self.latest

    def _count(self, totals: Mapping[str, int], scheduled: int) -> None:
        """Take the outcomes so far, unless some are missing: workers that start have yet to recover their tables.

        `scheduled` of them are those of records that schedules let enter.
        """
        now, before, total = self._clock(), sum(self._totals.values()), sum(totals.values())
        if total < before:
            return
        if self._looked_at is not None and now > self._looked_at:
            self._rate = (total - before) / (now - self._looked_at)
        self._totals, self._scheduled, self._looked_at = dict(totals), scheduled, now
