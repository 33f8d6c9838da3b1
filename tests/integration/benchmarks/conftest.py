"""A testbed on the embedded broker."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from benchmarks.systems.brokers import Testbed
from metroline.app.local.worker_process import WorkerProcess
from tests.support.brokers import Broker
from tests.support.forks.client import start_worker


@pytest.fixture
def testbed(embedded_broker: Broker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Testbed]:
    monkeypatch.setattr(WorkerProcess, "start", start_worker)
    with ExitStack() as resources:
        yield Testbed(embedded_broker, tmp_path, resources)
