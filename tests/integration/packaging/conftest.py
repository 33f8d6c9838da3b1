"""The wheel of this project, and an environment in which it is installed."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.environments import Environment, build_project, unpack


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the wheel, once for all tests."""
    return build_project(tmp_path_factory.mktemp("wheel"))


@pytest.fixture(scope="session")
def unpacked(wheel: Path) -> Path:
    """Return the folder of the wheel's unpacked files."""
    return unpack(wheel)


@pytest.fixture
def environment(unpacked: Path, tmp_path: Path) -> Environment:
    """Return an environment with Metroline, a new one for each test, since a test may install more."""
    environment = Environment.create(tmp_path / "environment")
    environment.install(unpacked)
    return environment
