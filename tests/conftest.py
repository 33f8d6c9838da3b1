"""What every test may ask for: real brokers, a topic prefix of its own, and a clean environment."""

from __future__ import annotations

import os
import signal
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from faust import Settings as FaustSettings

from metroline.app.settings import Settings
from tests.support.brokers import Broker, kafka_jars
from tests.support.shared_broker import shared_broker

FAUST_VARIABLES = {setting.env_name for setting in FaustSettings.SETTINGS.values() if setting.env_name}
METROLINE_VARIABLES = {name.upper() for name in Settings.model_fields}
VARIABLES = FAUST_VARIABLES | METROLINE_VARIABLES

TESTS = Path(__file__).parent

# As in a shell's background job: whatever the tests start would ignore it, too.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


ORDER = ("chaos", "integration", "component", "unit")
"""The folders of tests, the longest tests first: what runs at the end is short, so that all processes end together."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run the longest tests first."""
    items.sort(key=lambda item: ORDER.index(item.path.relative_to(TESTS).parts[0]))


@pytest.fixture(scope="session")
def lookup_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the lookups of all tests are kept, unless one has its own: a line's are made once."""
    return tmp_path_factory.mktemp("lookups")


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch, lookup_folder: Path) -> None:
    """No test depends on what is set where it runs: what Faust or Metroline reads from the environment is unset."""
    for name in list(os.environ):
        if name.upper() in VARIABLES:
            monkeypatch.delenv(name)
    monkeypatch.setenv("LOOKUP_DIR", str(lookup_folder))


@pytest.fixture
def prefix() -> str:
    """A prefix for topics and groups that no other test has."""
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
    """Run Apache Kafka, one for all tests; without Java 17 and Maven the test is skipped, or fails under CI=true."""
    kafka_jars()
    with shared_broker("kafka", run_folder / "kafka-broker") as broker:
        yield broker


@pytest.fixture(scope="session", params=["embedded", "kafka"])
def broker(request: pytest.FixtureRequest) -> Broker:
    """Runs a test twice: on the embedded broker and on Apache Kafka."""
    running: Broker = request.getfixturevalue(f"{request.param}_broker")
    return running
