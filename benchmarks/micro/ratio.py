"""Compares the CPU time of work with that of a baseline measured beside it: the ratio depends little on the machine."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from typing import TypeVar

Input = TypeVar("Input")

Run = Callable[[], object]
Job = Callable[[], Iterator[Run]]
"""Yields the work in parts. A part is prepared when it is asked for, which is not measured, and then run, which is."""

REPEATS = 15
BURST = 3
"""Repeats of a job in a row. The first brings its code and data into the cache, which the other jobs have emptied."""


@dataclass(frozen=True, slots=True)
class Case:
    """A step of the core and the baseline it is compared with, on the same records in packs of `pack` records."""

    step: str
    pack: int
    records: int
    """Number of records that one run of the job handles."""
    work: Job
    baseline_name: str
    baseline: Job
    bound: float
    """The highest ratio allowed."""


@dataclass(frozen=True, slots=True)
class Figure:
    """The result of a case, in microseconds of CPU time per record."""

    step: str
    pack: int
    microseconds: float
    baseline: str
    baseline_microseconds: float
    bound: float

    @property
    def ratio(self) -> float:
        return self.microseconds / self.baseline_microseconds

    @property
    def is_out_of_bounds(self) -> bool:
        return self.ratio > self.bound

    def __str__(self) -> str:
        return f"{self.step}, packs of {self.pack}: {self.ratio:.2f} x {self.baseline}; the bound is {self.bound:g}"


@dataclass(slots=True)
class Stopwatch:
    """The shortest time of each part of a job over all repeats.

    A part takes a fraction of a millisecond, so most repeats of it run without an interruption and with their data
    in the processor's cache. Other load on the machine makes single parts slower but hardly ever all repeats of one.
    """

    job: Job
    shortest: list[float] = field(default_factory=list)

    def repeat(self) -> None:
        """Run the job once more."""
        times = list(map(_seconds, self.job()))
        self.shortest = list(map(min, self.shortest or times, times))

    @property
    def seconds(self) -> float:
        return sum(self.shortest)


def in_parts(work: Callable[[Input], object], inputs: Iterable[Input], per_part: int) -> Iterator[Run]:
    """Yield runs of the work on `per_part` inputs each; inputs of an iterator are made part by part."""
    remaining = iter(inputs)
    while part := list(islice(remaining, per_part)):
        yield partial(_run_all, work, part)


def _run_all(work: Callable[[Input], object], inputs: Sequence[Input]) -> None:
    for one in inputs:
        work(one)


def measure(cases: Iterable[Case], repeats: int = REPEATS) -> list[Figure]:
    """Measure all cases in turn, in bursts of repeats, so that the repeats of a case are spread over the whole time."""
    watches = [(case, Stopwatch(case.work), Stopwatch(case.baseline)) for case in cases]
    with _no_garbage_collection():
        for done in range(0, repeats, BURST):
            for _, *pair in watches:
                _repeat(pair, min(BURST, repeats - done))
    return [_figure(case, work, baseline) for case, work, baseline in watches]


def _repeat(watches: Sequence[Stopwatch], times: int) -> None:
    for watch in watches:
        for _ in range(times):
            watch.repeat()


def _figure(case: Case, work: Stopwatch, baseline: Stopwatch) -> Figure:
    spent, compared = (watch.seconds / case.records * 1e6 for watch in (work, baseline))
    return Figure(case.step, case.pack, spent, case.baseline_name, compared, case.bound)


def _seconds(run: Run) -> float:
    """Return the CPU time of this thread while the part runs."""
    started = time.thread_time()
    run()
    return time.thread_time() - started


@contextmanager
def _no_garbage_collection() -> Iterator[None]:
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()
