"""The shares of functions and files in a profile."""

from __future__ import annotations

from benchmarks.systems.profiling import read_stacks, shares


def test_a_profile_separates_own_time_from_time_within() -> None:
    stacks = read_stacks(
        [
            "main (/x/app/__main__.py:3);handle (/x/agents/stop.py:9);loads (/y/site-packages/json/a.py:1) 3",
            "main (/x/app/__main__.py:3);handle (/x/agents/stop.py:12) 1",
            "no sample",
        ]
    )
    found = shares(stacks)
    assert found["samples"] == 4
    assert found["own"] == {"loads (json/a.py)": 75.0, "handle (agents/stop.py)": 25.0}
    assert found["within"]["handle (agents/stop.py)"] == 100.0
    assert found["files"] == {"agents/stop.py": 100.0}
