"""The search for the highest rate that is held."""

from __future__ import annotations

import pytest

from metroline.app.compare.highest_rate import PRECISION, RateSearch


def searched(search: RateSearch, capacity: float) -> list[float]:
    """Let a system with this capacity answer; return the rates that were tried."""
    tried = []
    while (rate := search.next_rate()) is not None:
        tried.append(rate)
        search.note(rate, held=rate <= capacity)
    return tried


@pytest.mark.parametrize("capacity", [12, 99, 640, 1_000, 7_300, 31_000])
@pytest.mark.parametrize("start", [10, 500, 20_000])
def test_it_ends_just_below_the_capacity(start: float, capacity: float) -> None:
    search = RateSearch(start, max_tries=30)
    tried = searched(search, capacity)
    assert search.held is not None
    assert capacity / PRECISION / 1.1 <= search.held <= capacity
    assert len(tried) == len(set(tried)) < 20


def test_it_stops_at_the_ceiling() -> None:
    search = RateSearch(1_000, ceiling=5_000)
    assert searched(search, 1e9) == [1_000, 2_000, 4_000, 5_000]
    assert search.held == 5_000


def test_it_gives_up_at_the_floor() -> None:
    search = RateSearch(1_000, floor=100)
    assert searched(search, 50) == [1_000, 250, 100]
    assert search.held is None


def test_it_is_bounded() -> None:
    assert len(searched(RateSearch(10, max_tries=4), 1e9)) == 4


def test_a_miss_below_a_rate_that_was_held_does_not_count() -> None:
    search = RateSearch(100)
    search.note(1_000, held=False)
    search.note(3_000, held=True)
    assert (search.held, search.missed) == (3_000, None)
