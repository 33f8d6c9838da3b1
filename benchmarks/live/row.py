"""One row of the live section: a system at each rate, and the highest rate that it sustains."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field

import click

from benchmarks.live.load import Load, under_load
from benchmarks.live.measured import is_complete, is_held
from benchmarks.live.stream import Stream
from benchmarks.systems.brokers import Testbed
from benchmarks.systems.system import System
from benchmarks.systems.trials import Figures
from metroline.app.compare.highest_rate import RateSearch
from metroline.routing.errors import MetrolineError

CEILING = 48_000.0
MAX_SEARCH_TRIES = 5
"""Further rates that are tried to find the highest one."""
WARM_UP_RATE = 1_000.0
"""Highest rate of the warm-up: a system falls behind at a higher one before it is measured."""


@dataclass(slots=True)
class Row:
    """Measures a system on a number of partitions. One process serves all rates until it falls behind at one."""

    system: System
    testbed: Testbed
    partitions: int
    seconds: float
    """Seconds per rate, after a second that does not count."""
    stream: Stream
    found: dict[float, Figures] = field(default_factory=dict)
    """The figures by rate."""
    _load: Load | None = None
    _process: ExitStack = field(default_factory=ExitStack)

    def measure(self, rates: Sequence[float], *, searches: bool = False) -> Figures:
        """Return the figures by rate and, if it `searches`, the highest rate sustained.

        The rates end with the first at which not all records are delivered. A system that fails at a rate keeps its
        figures at the rates before.
        """
        figures: Figures = {"partitions": self.partitions, "seconds": self.seconds}
        with self._process:
            try:
                self._go_through(sorted(rates))
                if searches:
                    figures["highest"] = self._search()
            except MetrolineError as failure:
                if not self.found:
                    raise
                figures["failed"] = str(failure)
        return figures | {"rates": {f"{rate:g}": self.found[rate] for rate in sorted(self.found)}}

    def _go_through(self, rates: Sequence[float]) -> None:
        for rate in rates:
            if not is_complete(self._at(rate)):
                return

    def _search(self) -> float:
        search = RateSearch(min(self.found), floor=min(self.found), ceiling=CEILING)
        for tried, figures in self.found.items():
            search.note(tried, held=is_held(figures))
        search.max_tries = search.tries + MAX_SEARCH_TRIES
        while (rate := search.next_rate()) is not None:
            search.note(rate, held=is_held(self._at(rate)))
        return search.held or 0.0

    def _at(self, rate: float) -> Figures:
        if self._load is None:
            self._load = self._process.enter_context(
                under_load(self.system, self.testbed, self.partitions, self.stream, min(rate, WARM_UP_RATE))
            )
        figures = self.found[rate] = self._load.at(rate, self.seconds)
        click.echo(f"  {self.system.name}, {self.partitions} partitions, {rate:g}/s: {_in_words(figures)}")
        if not is_complete(figures):  # the next rate begins without the records that wait
            self._process.close()
            self._load = None
        return figures


def _in_words(figures: Figures) -> str:
    return ", ".join(f"{name} {value}" for name, value in figures.items())
