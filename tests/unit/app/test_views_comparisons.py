"""Pages of comparisons: whatever others write to the topic is left out or shown, and is no error of a page."""

from __future__ import annotations

from random import Random
from typing import Any, cast

import msgspec
import pytest

from metroline.app.operations.comparison_runs import KeptRuns
from metroline.app.views.comparisons.pages import beside_page, run_page
from metroline.app.views.comparisons.views import answer_of, network_of
from tests.support.html_reader import HtmlReader
from tests.support.kept_comparisons import FIRST, done
from tests.support.mutants import mutated


@pytest.mark.parametrize("seed", range(12))
def test_forged_comparisons_are_left_out_or_shown(seed: int) -> None:
    random, genuine = Random(seed), msgspec.json.encode(done())
    for _ in range(25):
        runs = KeptRuns()
        if runs.add(FIRST.encode(), mutated(random, genuine)) is not None:
            continue
        run = runs.newest()[0]
        answer = answer_of(run)
        msgspec.json.encode(answer)
        for shown in (run_page(cast(Any, None), answer, network_of(run)), beside_page([answer])):
            HtmlReader(shown)
