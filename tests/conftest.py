"""Fixtures for every test: real brokers, a topic prefix of its own, and a clean environment."""

from __future__ import annotations

import os
import signal
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.brokers import Broker, kafka_jars
from tests.support.shared_broker import shared_broker

TESTS = Path(__file__).parent

# A shell's background job ignores SIGINT, and so would every process that the tests start.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


ORDER = ("chaos", "component", "browser", "integration", "unit")
"""Folders of tests in the order in which they run.

Chaos comes first, since it takes longest, beside component tests, which leave it the machine. Unit tests come last:
they are short, so that all processes finish at about the same time.
"""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the tests in the order of their folders."""
    items.sort(key=lambda item: ORDER.index(item.path.relative_to(TESTS).parts[0]))


@pytest.fixture(scope="session")
def lookup_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Set one folder for the lookups of all tests that set none, so that a line's lookups are made only once."""
    return tmp_path_factory.mktemp("lookups")


@pytest.fixture(scope="session")
def variables() -> set[str]:
    """Return the name of every variable that Faust or Metroline reads."""
    from faust import Settings as FaustSettings  # the process that deals out the tests never imports it

    from metroline.app.settings import Settings

    of_faust = {setting.env_name for setting in FaustSettings.SETTINGS.values() if setting.env_name}
    return of_faust | {name.upper() for name in Settings.model_fields}


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch, variables: set[str], lookup_folder: Path) -> None:
    """Unset every variable that Faust or Metroline reads, so that no test depends on the environment of the run."""
    for name in list(os.environ):
        if name.upper() in variables:
            monkeypatch.delenv(name)
    monkeypatch.setenv("LOOKUP_DIR", str(lookup_folder))


@pytest.fixture
def prefix() -> str:
    """Return a prefix for topics and groups that no other test uses."""
    return f"test-{uuid.uuid4().hex[:12]}"


@pytest.fixture(scope="session")
def run_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder that all processes of this test run share."""
    folder = tmp_path_factory.getbasetemp()
    return folder.parent if "PYTEST_XDIST_WORKER" in os.environ else folder


@pytest.fixture(scope="session")
def embedded_broker(run_folder: Path) -> Iterator[Broker]:
    """Run the embedded broker, one for all tests."""
    with shared_broker("embedded", run_folder / "embedded-broker") as broker:
        yield broker


@pytest.fixture(scope="session")
def kafka_broker(run_folder: Path) -> Iterator[Broker]:
    """Run Apache Kafka, one for all tests. Without Java 17 and Maven, skip the test, or fail it under CI=true."""
    kafka_jars()
    with shared_broker("kafka", run_folder / "kafka-broker") as broker:
        yield broker


@pytest.fixture(scope="session", params=["embedded", "kafka"])
def broker(request: pytest.FixtureRequest) -> Broker:
    """Run a test twice: on the embedded broker and on Apache Kafka."""
    running: Broker = request.getfixturevalue(f"{request.param}_broker")
    return running
