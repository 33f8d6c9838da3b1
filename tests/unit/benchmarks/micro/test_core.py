"""The command that measures the routing core: its figures, and its exit code where a bound or a target is missed."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
from click.testing import CliRunner

from benchmarks.micro import core
from benchmarks.micro.core_cases import LONG_HISTORY, MANY_CONDITIONS, MANY_MATCHES
from benchmarks.micro.ratio import Case, Figure, Job, Stopwatch, measure


def spinning(rounds: int) -> Job:
    return lambda: iter([lambda: sum(range(rounds))])


def test_a_step_out_of_bounds_is_named_with_its_ratio_and_its_bound() -> None:
    case = Case("spin", 49, 49, spinning(200_000), "spinning less", spinning(20_000), bound=3)
    slow, same = measure([case, replace(case, work=case.baseline)])
    assert slow.is_out_of_bounds
    assert str(slow).startswith("spin, packs of 49: ")
    assert str(slow).endswith(" x spinning less; the bound is 3")
    assert not same.is_out_of_bounds


def test_an_interrupted_part_does_not_count() -> None:
    interruptions = iter([0, 500_000, 500_000, 0])
    watch = Stopwatch(lambda: (partial(sum, range(1_000 + next(interruptions))) for _ in range(2)))
    watch.repeat()
    watch.repeat()
    undisturbed = Stopwatch(lambda: (partial(sum, range(1_000)) for _ in range(2)))
    for _ in range(20):
        undisturbed.repeat()
    assert watch.seconds < 50 * undisturbed.seconds


@pytest.mark.parametrize(("slowness", "code", "verdict"), [(1, 0, "met"), (20, 1, "MISSED")])
def test_the_command_fails_where_a_target_is_missed(
    slowness: int, code: int, verdict: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    figures = [
        Figure(step, 1, 0.5 * slowness, "spinning", 0.5, bound=1_000)
        for step in (MANY_MATCHES, MANY_CONDITIONS, LONG_HISTORY)
    ]
    monkeypatch.setattr(core, "measure", lambda cases, repeats: figures)
    file = tmp_path / "core.json"
    result = CliRunner().invoke(core.main, ["--json", str(file)])
    assert result.exit_code == code, result.output
    assert f"{verdict}: 10,000 match rules against 10" in result.output
    written = json.loads(file.read_text())
    assert [figure["step"] for figure in written["figures"]] == [MANY_MATCHES, MANY_CONDITIONS, LONG_HISTORY]
    assert written["figures"][0]["ratio"] == slowness
    assert written["targets"][0]["met"] is (code == 0)


def test_the_command_fails_where_a_step_is_out_of_bounds(monkeypatch: pytest.MonkeyPatch) -> None:
    figures = [
        Figure(step, 1, 0.6, "spinning", 0.5, bound=1.1 if step is MANY_CONDITIONS else 2)
        for step in (MANY_MATCHES, MANY_CONDITIONS, LONG_HISTORY)
    ]
    monkeypatch.setattr(core, "measure", lambda cases, repeats: figures)
    result = CliRunner().invoke(core.main)
    assert result.exit_code == 1
    assert f"{MANY_CONDITIONS}, packs of 1: 1.20 x spinning; the bound is 1.1" in result.output
    assert "MISSED" not in result.output
