"""The routing core keeps within its bounds against orjson and CEL alone; a step that gets ten times slower is seen."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner

from benchmarks.micro import core
from benchmarks.micro.core_cases import LONG_HISTORY, MANY_CONDITIONS, MANY_MATCHES, cases
from benchmarks.micro.ratio import Case, Job, Run, losses, measure


@pytest.fixture(scope="module")
def steps() -> list[Case]:
    return list(cases())


def tenfold(job: Job) -> Job:
    """The same work ten times, each time on what was prepared for it."""

    def prepare() -> Run:
        runs = [job() for _ in range(10)]
        return lambda: [run() for run in runs]

    return prepare


def spinning(rounds: int) -> Job:
    return lambda: lambda: sum(range(rounds))


def test_each_step_of_the_core_keeps_within_its_bound(steps: list[Case]) -> None:
    doubtful = [case for case in steps if measure(case, repeats=5).is_lost]
    assert not losses(measure(case, repeats=40) for case in doubtful)


def test_a_step_that_gets_ten_times_slower_breaks_its_bound(steps: list[Case]) -> None:
    slow = [replace(case, work=tenfold(case.work)) for case in steps]
    doubtful = [case for case in slow if not measure(case, repeats=2).is_lost]
    unseen = [case for case in doubtful if not measure(case, repeats=15).is_lost]
    assert not unseen


def test_a_loss_is_told_with_its_step_its_ratio_and_its_bound() -> None:
    case = Case("spin", 49, 49, spinning(200_000), "spinning less", spinning(20_000), bound=3)
    (told,) = losses([measure(case)])
    assert told.startswith("spin, packs of 49: ")
    assert told.endswith(" x spinning less, at most 3 are allowed")
    assert not losses([measure(replace(case, work=case.baseline))])


@pytest.mark.parametrize(("slowness", "code", "verdict"), [(1, 0, "met"), (20, 1, "MISSED")])
def test_the_command_fails_where_a_target_is_missed(
    slowness: int, code: int, verdict: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def few() -> Iterator[Case]:
        for what in (MANY_MATCHES, MANY_CONDITIONS, LONG_HISTORY):
            yield Case(what, 1, 10_000, spinning(20_000 * slowness), "spinning", spinning(20_000), bound=1_000)

    monkeypatch.setattr(core, "cases", few)
    file = tmp_path / "core.json"
    result = CliRunner().invoke(core.main, ["--json", str(file)])
    assert result.exit_code == code, result.output
    assert f"{verdict}: 10,000 match rules against 10" in result.output
    written = json.loads(file.read_text())
    assert [one["what"] for one in written["figures"]] == [MANY_MATCHES, MANY_CONDITIONS, LONG_HISTORY]
    assert written["figures"][0]["ratio"] == pytest.approx(slowness, rel=0.5)
    assert written["targets"][0]["met"] is (code == 0)
