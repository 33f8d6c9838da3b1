"""A line on a real broker for each test of workers."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.support.brokers import Broker
from tests.support.depot import Depot


@pytest.fixture
async def depot(broker: Broker, prefix: str, tmp_path: Path) -> AsyncIterator[Depot]:
    """Yield a line of three stops on each of the brokers; end its workers and delete its topics afterwards."""
    depot = Depot(broker, prefix, tmp_path / "depot", tmp_path)
    try:
        yield depot
    finally:
        depot.end()
        await depot.delete_topics()
