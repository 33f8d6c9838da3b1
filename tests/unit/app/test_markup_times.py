"""Times in ISO 8601, in UTC."""

from __future__ import annotations

import pytest

from metroline.app.markup.times import iso


def test_times_are_in_utc() -> None:
    assert iso(0.0) == "1970-01-01T00:00:00.000Z"
    assert iso(1_700_000_000.5) == "2023-11-14T22:13:20.500Z"


@pytest.mark.parametrize("at", [1e300, -1e300, float("nan"), float("inf"), None])
def test_what_no_calendar_has_is_no_time(at: float | None) -> None:
    assert iso(at) is None
