"""Cost of the routing core: within its bounds against orjson and CEL alone; a step that is ten times slower fails."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from functools import partial
from itertools import compress

import pytest

from benchmarks.micro.core_cases import cases
from benchmarks.micro.ratio import Case, Job, Run, measure


@pytest.fixture(scope="module")
def steps() -> list[Case]:
    return list(cases())


def tenfold(job: Job) -> Job:
    """Return a job that repeats the same work ten times, each time on freshly prepared data."""

    def parts() -> Iterator[Run]:
        for same in zip(*(job() for _ in range(10)), strict=True):
            yield partial(run_all, same)

    return parts


def run_all(runs: Iterable[Run]) -> None:
    for run in runs:
        run()


def out_of_bounds(cases: list[Case], repeats: int) -> list[bool]:
    return [figure.is_out_of_bounds for figure in measure(cases, repeats)]


@pytest.mark.timeout(300)  # it measures CPU time, of which a busy machine grants little
def test_each_step_of_the_core_keeps_within_its_bound(steps: list[Case]) -> None:
    doubtful = list(compress(steps, out_of_bounds(steps, repeats=3)))
    assert [str(figure) for figure in measure(doubtful, repeats=40) if figure.is_out_of_bounds] == []


@pytest.mark.timeout(300)
def test_a_step_that_gets_ten_times_slower_breaks_its_bound(steps: list[Case]) -> None:
    slow = [replace(case, work=tenfold(case.work)) for case in steps]
    doubtful = [case for case, breaks in zip(slow, out_of_bounds(slow, repeats=1), strict=True) if not breaks]
    assert [str(figure) for figure in measure(doubtful, repeats=15) if not figure.is_out_of_bounds] == []
