"""Many records are decided about in chunks, which grow while deciding is quick and shrink while it is slow."""

from __future__ import annotations

from itertools import count

import pytest

from metroline.routing.journeys.chunks import CHUNK_SECONDS, at_once, in_chunks


def sizes(items: int, most: int, seconds: float) -> list[int]:
    """Return the sizes of the chunks, each of which takes this long by the clock."""
    found: list[slice] = []
    times = count(0.0, seconds)
    for _ in in_chunks(found.append, items, most, lambda: next(times)):
        pass
    assert [place for part in found for place in range(items)[part]] == [*range(items)]
    return [len(range(items)[part]) for part in found]


@pytest.mark.parametrize(
    ("items", "most", "seconds", "expected"),
    [
        (0, 100, 0.0, []),
        (1, 100, 0.0, [1]),
        (100, 1_000, 0.0, [1, 2, 4, 8, 16, 32, 37]),
        (30, 10, 0.0, [1, 2, 4, 8, 10, 5]),
        (5, 1_000, 2 * CHUNK_SECONDS, [1, 1, 1, 1, 1]),
    ],
)
def test_chunks_follow_the_time_that_they_take(items: int, most: int, seconds: float, expected: list[int]) -> None:
    assert sizes(items, most, seconds) == expected


def test_what_is_done_in_chunks_can_be_done_at_once() -> None:
    seen: list[slice] = []
    at_once(in_chunks)(seen.append, 10, 100, float)
    assert seen == [slice(0, 1), slice(1, 3), slice(3, 7), slice(7, 15)]
