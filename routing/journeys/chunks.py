"""Decides about many records in chunks, between which other tasks may run: rules may take long for a record."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import ParamSpec

FIRST_CHUNK = 1
"""Records in the first chunk. Each further chunk has twice as many, unless that takes too long."""

CHUNK_SECONDS = 0.02
"""Time of a chunk, in seconds, after which the next one has half as many."""

Clock = Callable[[], float]
"""Returns seconds since any moment, by which chunks are measured."""

P = ParamSpec("P")


def in_chunks(handle: Callable[[slice], object], count: int, most: int, clock: Clock) -> Iterator[None]:
    """Handle `count` items slice by slice, of which none has more than `most`; yield after each slice."""
    first, each = 0, min(most, FIRST_CHUNK)
    while first < count:
        began = clock()
        handle(slice(first, first + each))
        first += each
        each = max(1, each // 2) if clock() - began > CHUNK_SECONDS else min(most, each * 2)
        yield


def at_once(chunks: Callable[P, Iterator[None]]) -> Callable[P, None]:
    """Return a function that does at once what a generator function does in chunks."""

    def handle(*args: P.args, **kwargs: P.kwargs) -> None:
        for _ in chunks(*args, **kwargs):
            pass

    return handle
