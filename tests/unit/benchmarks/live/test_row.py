"""A row: it ends where a system falls behind, and its search begins anew without the records that wait."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import cast

import pytest

from benchmarks.live import row as rows
from benchmarks.live.load import Load
from benchmarks.live.row import Row
from benchmarks.live.stream import Stream
from benchmarks.systems.brokers import Testbed
from benchmarks.systems.strategy import Strategy
from benchmarks.systems.trial import TrialFailed
from benchmarks.systems.trials import Figures

STREAM = Stream.make(pool=50)


@dataclass(slots=True)
class FakeLoad:
    """A system that delivers everything up to a rate."""

    capacity: float
    fails_above: float
    starts: list[list[float]] = field(default_factory=list)
    """The rates that each start of the system was measured at."""

    @contextmanager
    def start(self, *_: object) -> Iterator[Load]:
        self.starts.append([])
        yield cast(Load, self)

    def at(self, rate: float, seconds: float) -> Figures:
        if rate > self.fails_above:
            raise TrialFailed("the process ended")
        self.starts[-1].append(rate)
        return {"share": 1.0 if rate <= self.capacity else 0.5, "p50": 1.0, "p99": 10.0, "cpu": 0.1}


def measured(
    monkeypatch: pytest.MonkeyPatch, capacity: float, fails_above: float = 1e9, *, searches: bool = False
) -> tuple[FakeLoad, Figures]:
    load = FakeLoad(capacity, fails_above)
    monkeypatch.setattr(rows, "under_load", load.start)
    row = Row(Strategy("signpost"), cast(Testbed, None), 12, 3.0, STREAM)
    return load, row.measure([1_000.0, 100.0, 3_000.0, 6_000.0], searches=searches)


def test_a_row_ends_at_the_first_rate_at_which_the_system_falls_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    load, figures = measured(monkeypatch, 2_000)
    assert load.starts == [[100, 1_000, 3_000]]
    assert list(figures["rates"]) == ["100", "1000", "3000"]
    assert figures["rates"]["3000"]["share"] == 0.5


def test_the_highest_rate_lies_close_to_the_capacity(monkeypatch: pytest.MonkeyPatch) -> None:
    load, figures = measured(monkeypatch, 2_000, searches=True)
    assert 2_000 / 1.15 <= figures["highest"] <= 2_000
    assert all(min(rates) <= 2_000 or len(rates) == 1 for rates in load.starts), "a backlog of another rate was left"


def test_a_system_that_holds_no_rate_has_none(monkeypatch: pytest.MonkeyPatch) -> None:
    load, figures = measured(monkeypatch, 50, searches=True)
    assert figures["highest"] == 0
    assert load.starts == [[100]]


def test_a_system_that_fails_keeps_its_figures_at_lower_rates(monkeypatch: pytest.MonkeyPatch) -> None:
    _, figures = measured(monkeypatch, 9_000, fails_above=1_500)
    assert figures["failed"] == "the process ended"
    assert list(figures["rates"]) == ["100", "1000"]
