"""Measures work against a baseline in the same run: what else the machine does hits both, and the ratio stays."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TypeVar

Input = TypeVar("Input")

Run = Callable[[], object]
Job = Callable[[], Run]
"""Prepares what is needed, which is not measured, and gives what is."""

REPEATS = 15


@dataclass(frozen=True, slots=True)
class Case:
    """Work and the baseline that it is compared with, on the same records, which come in packs of `pack`."""

    what: str
    pack: int
    records: int
    """How many records one run handles."""
    work: Job
    baseline_name: str
    baseline: Job
    bound: float
    """The ratio from which on something is wrong."""


@dataclass(frozen=True, slots=True)
class Figure:
    """What a case came to, in microseconds of CPU time a record."""

    what: str
    pack: int
    microseconds: float
    baseline: str
    baseline_microseconds: float
    bound: float

    @property
    def ratio(self) -> float:
        return self.microseconds / self.baseline_microseconds

    @property
    def is_lost(self) -> bool:
        """Whether it costs so much more than its baseline that something is wrong."""
        return self.ratio > self.bound


def each(work: Callable[[Input], object], inputs: Sequence[Input]) -> Run:
    """A run of the work on one input after the other."""

    def run() -> None:
        for one in inputs:
            work(one)

    return run


def measure(case: Case, repeats: int = REPEATS) -> Figure:
    """The shortest runs of both, which take turns; what disturbs a run only makes it longer."""
    pairs = [(_seconds(case.work), _seconds(case.baseline)) for _ in range(repeats)]
    work, baseline = (min(seconds) / case.records * 1e6 for seconds in zip(*pairs, strict=True))
    return Figure(case.what, case.pack, work, case.baseline_name, baseline, case.bound)


def losses(figures: Iterable[Figure]) -> list[str]:
    """What costs more than its bound, as a person reads it."""
    return [
        f"{one.what}, packs of {one.pack}: {one.ratio:.2f} x {one.baseline}, at most {one.bound:g} are allowed"
        for one in figures
        if one.is_lost
    ]


def _seconds(job: Job) -> float:
    """CPU time of one run, without collecting garbage."""
    run = job()
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        begun = time.process_time()
        run()
        return time.process_time() - begun
    finally:
        if was_enabled:
            gc.enable()
