"""A testbed on the embedded broker."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from benchmarks.systems.brokers import Testbed
from tests.support.brokers import Broker


@pytest.fixture
def testbed(embedded_broker: Broker, tmp_path: Path) -> Iterator[Testbed]:
    with ExitStack() as resources:
        yield Testbed(embedded_broker, tmp_path, resources)
