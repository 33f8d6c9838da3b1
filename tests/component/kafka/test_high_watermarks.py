"""A cluster that goes away while it is asked for the ends of partitions is a `ClusterSilent`, in one line."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import Any, cast

import pytest
from aiokafka import TopicPartition
from aiokafka.errors import KafkaTimeoutError

from metroline.agents.kafka.cluster import Cluster, ClusterSilent
from metroline.agents.kafka.topic_admin import TopicAdmin


class Gone:
    """A consumer whose brokers do not answer."""

    def assign(self, partitions: list[TopicPartition]) -> None:
        """Take the partitions."""

    async def end_offsets(self, partitions: list[TopicPartition]) -> dict[TopicPartition, int]:
        raise KafkaTimeoutError("Failed to get offsets by times in 40000 ms")


@asynccontextmanager
async def consumer(**settings: Any) -> AsyncIterator[Gone]:
    yield Gone()


async def test_brokers_that_go_away_while_they_are_asked_are_told_of_in_one_line() -> None:
    cluster = cast(Cluster, SimpleNamespace(bootstrap="127.0.0.1:1", consumer=consumer))
    with pytest.raises(ClusterSilent, match=r"^127\.0\.0\.1:1 does not say where orders\[0\] end: .*40000 ms$"):
        await TopicAdmin(cluster).high_watermarks([TopicPartition("orders", 0)])
