"""Isotonic regression: positions in a fixed order and at fixed distances, as close to the wished ones as possible."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Sequence
from itertools import accumulate


def fit_positions(wishes: Sequence[Sequence[tuple[float, float]]], gaps: Sequence[float]) -> list[float]:
    """Return positions at least `gaps` apart with the least weighted distance to the wishes.

    `wishes` holds one or more pairs (position, weight) for each item, `gaps` one number for each pair of neighbours.
    The pool-adjacent-violators algorithm merges items that would overlap into a block at the weighted median of their
    wishes.
    """
    shifts = [0.0]
    for gap in gaps:
        shifts.append(shifts[-1] + gap)
    blocks: list[tuple[list[tuple[float, float]], float, int]] = []
    for wish, shift in zip(wishes, shifts, strict=False):
        pool, size = [(position - shift, weight) for position, weight in wish], 1
        while blocks and blocks[-1][1] > weighted_median(pool):
            before, _, members = blocks.pop()
            pool, size = before + pool, size + members
        blocks.append((pool, weighted_median(pool), size))
    levels = [level for _, level, size in blocks for _ in range(size)]
    return [level + shift for level, shift in zip(levels, shifts, strict=False)]


def weighted_median(weighted: Iterable[tuple[float, float]]) -> float:
    """Return the first position up to which at least half of the weight lies."""
    ordered = sorted(weighted)
    half = sum(weight for _, weight in ordered) / 2
    passed = list(accumulate(weight for _, weight in ordered))
    return ordered[bisect_left(passed, half)][0]
