"""Positions in a column: as near as they can be to where each would like to be."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Sequence
from itertools import accumulate


def nearest(wishes: Sequence[Sequence[tuple[float, float]]], gaps: Sequence[float]) -> list[float]:
    """Positions in this order, at least `gaps` apart, whose weighted distance from what each wishes is least.

    Pool adjacent violators: what would overlap moves as one block, to the weighted median of what its members wish.
    """
    shifts = [0.0]
    for gap in gaps:
        shifts.append(shifts[-1] + gap)
    blocks: list[tuple[list[tuple[float, float]], float, int]] = []
    for wish, shift in zip(wishes, shifts, strict=False):
        pool, size = [(position - shift, weight) for position, weight in wish], 1
        while blocks and blocks[-1][1] > median(pool):
            before, _, members = blocks.pop()
            pool, size = before + pool, size + members
        blocks.append((pool, median(pool), size))
    levels = [level for _, level, size in blocks for _ in range(size)]
    return [level + shift for level, shift in zip(levels, shifts, strict=False)]


def median(weighted: Iterable[tuple[float, float]]) -> float:
    """The first position with at least half of the weight up to it."""
    ordered = sorted(weighted)
    half = sum(weight for _, weight in ordered) / 2
    passed = list(accumulate(weight for _, weight in ordered))
    return ordered[bisect_left(passed, half)][0]
