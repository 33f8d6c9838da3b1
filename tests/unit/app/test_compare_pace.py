"""The pace of a strategy from what its workers reported while records were sent."""

from __future__ import annotations

import pytest

from metroline.app.compare.rate_run import pace_of


@pytest.mark.parametrize(
    ("behind", "growing"),
    [
        ([0.0, 0.5, 1.0, 1.5, 2.0], True),
        ([2.0, 2.1, 1.9, 2.0, 2.1], False),
        ([0.01, 0.01, 0.02, 0.03], False),
        ([], False),
    ],
)
def test_a_delay_that_is_larger_at_the_end_than_halfway_grows(behind: list[float], growing: bool) -> None:
    assert pace_of(100, 0.5, 2.0, behind).growing is growing


def test_the_share_is_never_more_than_all() -> None:
    pace = pace_of(100, 1.02, -0.1, [])
    assert (pace.share, pace.behind_seconds, pace.kept_up) == (1.0, 0.0, True)
