"""The results of the section `live`, row by row."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from benchmarks.live.measured import is_complete
from benchmarks.live.section import CHAINING, PEERS
from benchmarks.report.results import Entries, last_round
from benchmarks.systems.strategy import Strategy
from benchmarks.systems.systems import SYSTEMS

WAYS = {"chained": "chained", "hops": "every hop on the bus"}


@dataclass(frozen=True, slots=True)
class LiveRow:
    """The last measurement under one name; without figures where nothing was measured."""

    figures: dict[str, Any]

    @classmethod
    def of(cls, entries: Entries, name: str) -> LiveRow:
        return cls(dict(last_round(entries.get(name, {}))))

    @property
    def rates(self) -> list[float]:
        """The rates that were measured, in records per second."""
        return [float(rate) for rate in self.figures.get("rates", {})]

    def at(self, rate: float) -> dict[str, Any] | None:
        """Return the figures at a rate, or None where it was not measured."""
        found = self.figures.get("rates", {}).get(f"{rate:g}")
        return None if found is None else dict(found)

    def fell_behind_before(self, rate: float) -> bool:
        """Return True if the row ended at a lower rate, where not all records were delivered in time."""
        return any(not is_complete(self.at(lower) or {"share": 1}) for lower in self.rates if lower < rate)

    def held_up(self, rate: float) -> bool | None:
        """Return True if all records were delivered in time at a rate; None where that is not known."""
        found = self.at(rate)
        if found is not None:
            return is_complete(found)
        return False if self.fell_behind_before(rate) else None

    def figure(self, rate: float, key: str) -> float | None:
        """Return a figure at a rate at which all records were delivered in time."""
        found = self.at(rate)
        return float(found[key]) if found is not None and is_complete(found) else None

    def of_all(self, key: str) -> float | None:
        """Return a figure of the whole row."""
        found = self.figures.get(key)
        return None if found is None else float(found)


def titled_rows(entries: Entries, end: str) -> Iterator[tuple[str, bool, LiveRow]]:
    """Yield the title, whether it is Metroline's, and the row of each system that has a row with this last part."""
    for system in SYSTEMS:
        if isinstance(system, Strategy):
            for way in CHAINING:
                if (row := LiveRow.of(entries, f"{system.name}/{way}/{end}")).figures:
                    yield f"{system.title}, {WAYS[way]}", True, row
        elif system.name in PEERS and (row := LiveRow.of(entries, f"{system.name}/{end}")).figures:
            yield system.title, False, row
