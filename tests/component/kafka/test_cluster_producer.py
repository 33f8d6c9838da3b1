"""A message that the brokers confirmed to a command is not lost when another broker becomes the leader."""

from __future__ import annotations

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
