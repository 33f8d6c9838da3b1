"""The plugin of pytest: the fixtures `run_line` and `run_line_async`, cases as tests, and the journeys of failed ones.

pytest loads it in every environment in which Metroline is installed, so it imports nothing before a test asks for it.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Generator
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from metroline.app.testing.journey import Journey

SECTION = "journeys"
MAX_SHOWN = 20
"""Maximum number of journeys that are shown for a test."""


@pytest.fixture
def run_line(request: pytest.FixtureRequest) -> Callable[..., list[Journey]]:
    """Return `metroline.testing.run_line`, for which a line may be a folder beside the test's file."""
    from metroline.testing import run_line

    return _beside(request.path.parent, run_line)


@pytest.fixture
def run_line_async(request: pytest.FixtureRequest) -> Callable[..., Any]:
    """Return `metroline.testing.run_line_async`, for which a line may be a folder beside the test's file."""
    from metroline.testing import run_line_async

    return _beside(request.path.parent, run_line_async)


def _beside(folder: Path, run: Callable[..., Any]) -> Callable[..., Any]:
    """Return the function, for which a relative path of a line begins at a folder if it leads to a folder there."""

    @wraps(run)
    def run_beside(line: Any, *arguments: Any, **options: Any) -> Any:
        __tracebackhide__ = True
        if isinstance(line, (str, os.PathLike)) and (folder / line).is_dir():
            line = folder / line
        return run(line, *arguments, **options)

    return run_beside


def pytest_collect_file(file_path: Path, parent: pytest.Collector) -> pytest.Collector | None:
    """Collect the cases of a line: a `cases.toml` beside a `services.py` and a `routes.toml`."""
    beside = ("services.py", "routes.toml")
    if file_path.name != "cases.toml" or not all((file_path.parent / name).is_file() for name in beside):
        return None
    from metroline.app.testing.pytest_cases import CasesFile

    return CasesFile.from_parent(parent, path=file_path)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, Any, Any]:
    """Keep the journeys of a test, and add them to its report if it fails."""
    if "metroline.testing" not in sys.modules:
        return (yield)
    from metroline.app.testing.run import seen_journeys

    seen: list[Journey] = []
    token = seen_journeys.set(seen)
    try:
        return (yield)
    except (Exception, pytest.fail.Exception):
        if seen:
            item.add_report_section("call", SECTION, _shown(seen))
        raise
    finally:
        seen_journeys.reset(token)


def _shown(journeys: list[Journey]) -> str:
    left = len(journeys) - MAX_SHOWN
    texts = [str(journey) for journey in journeys[:MAX_SHOWN]]
    return "\n\n".join([*texts, f"and {left} more"] if left > 0 else texts)
