"""No message that a cluster confirmed to a command is lost, and no client is left behind."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Any

import pytest

from metroline.agents.kafka import cluster
from metroline.agents.kafka.cluster import Cluster


class Producer:
    """A producer that only remembers its settings."""

    settings: dict[str, Any]

    def __init__(self, **settings: Any) -> None:
        Producer.settings = settings

    async def start(self) -> None:
        """Connect to nothing."""

    async def stop(self) -> None:
        """Have nothing to flush."""


async def test_a_message_is_confirmed_by_all_copies(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster, "AIOKafkaProducer", Producer)
    async with Cluster("127.0.0.1:1").producer(linger_ms=5):
        assert Producer.settings["acks"] == "all"
        assert Producer.settings["linger_ms"] == 5


async def test_a_client_that_is_cancelled_while_it_starts_is_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    stopped = []

    class Hanging(Producer):
        async def start(self) -> None:
            await asyncio.sleep(3_600)

        async def stop(self) -> None:
            stopped.append(self)

    monkeypatch.setattr(cluster, "AIOKafkaProducer", Hanging)
    with suppress(TimeoutError):
        async with asyncio.timeout(0.01), Cluster("127.0.0.1:1").producer():
            pytest.fail("it never starts")
    assert len(stopped) == 1
