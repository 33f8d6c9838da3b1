"""Records that are loaded at a rate are written one by one, unless they are to be gathered."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, cast

import pytest

from metroline.agents.kafka.cluster import Cluster
from metroline.app.inputs.source_loader import load
from metroline.app.local.worker_process import gathering


class Ended(Exception):
    """Raised instead of a connection."""


class Brokers:
    """Keeps the settings with which a producer is asked for, and gives none."""

    settings: dict[str, Any]

    @asynccontextmanager
    async def producer(self, **settings: Any) -> AsyncIterator[None]:
        self.settings = settings
        raise Ended
        yield


async def linger_at(rate: float) -> int:
    """Return the linger of the producer, in milliseconds, with which `metroline up` loads the embedded broker."""
    brokers = Brokers()
    with pytest.raises(Ended):
        async for _ in load(cast(Cluster, brokers), "source", iter([b"{}"]), 1, rate, linger=gathering(rate)):
            pass
    return int(brokers.settings["linger_ms"])


async def test_a_slow_flow_is_written_at_once_and_a_fast_one_in_twenty_batches_a_second() -> None:
    assert [await linger_at(rate) for rate in (20.0, 99.0, 100.0, 5_000.0)] == [0, 0, 50, 50]
