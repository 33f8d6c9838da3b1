"""The brokers of a run, the client settings that suit each, and the Redis that one of the peers needs."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from metroline.agents.kafka.cluster import Cluster
from metroline.agents.kafka.topic_admin import TopicAdmin
from metroline.app.local.child_process import Child
from metroline.app.local.ports import HOST, free_port
from metroline.app.local.worker_process import AT_LOAD, LOCAL
from metroline.routing.errors import MetrolineError
from tests.support.brokers import Broker, running_embedded, running_kafka

REDIS = "redis-server"
JOIN_SECONDS = "3"
"""Rebalance timeout on the embedded broker: a first join takes half of it, and a group here has one process."""


class BrokerUnavailable(MetrolineError):
    """Raised when a broker cannot be started on this machine."""


DELETE_FILES_AT_ONCE = """
log.segment.delete.delay.ms=100
"""
"""By default, Kafka deletes files a minute after their topic and stalls for up to a second, during a later run."""


@dataclass(slots=True)
class Testbed:
    """A broker and a folder for one run of the benchmark."""

    __test__ = False  # not a class of tests

    broker: Broker
    folder: Path
    """Files of the run; deleted at the end."""
    resources: ExitStack = field(default_factory=ExitStack)
    _redis_port: int | None = None

    @property
    def cluster(self) -> Cluster:
        return Cluster.at(self.broker.url)

    def client_settings(self, *, at_load: bool) -> dict[str, str]:
        """Return how long clients wait. The embedded broker does not answer a waiting fetch when data arrives."""
        if self.broker.name != "embedded":
            return {}
        return LOCAL | {"BROKER_REBALANCE_TIMEOUT": JOIN_SECONDS} | ({"FETCH_WAIT": AT_LOAD} if at_load else {})

    def redis_port(self) -> int:
        """Return the port of a Redis without persistence; it is started on the first call."""
        if self._redis_port is None:
            self._redis_port = free_port()
            command = [REDIS, "--bind", HOST, "--port", str(self._redis_port), "--save", "", "--appendonly", "no"]
            child = Child.start(command, self.folder / "redis.log", self.folder)
            self.resources.callback(child.stop)
        return self._redis_port

    def delete(self, prefix: str) -> None:
        """Delete the topics of a run."""
        asyncio.run(_delete(self.cluster, prefix))


async def _delete(cluster: Cluster, prefix: str) -> None:
    await TopicAdmin(cluster).delete([*await TopicAdmin(cluster).topics_below(prefix), f"{prefix}-source"])


def has_redis() -> bool:
    return shutil.which(REDIS) is not None


@contextmanager
def running_testbed(name: str, kafka_settings: str = "") -> Iterator[Testbed]:
    """Run the broker `embedded` or `kafka` on a free port; `kafka_settings` are lines of server.properties."""
    with tempfile.TemporaryDirectory(prefix="metroline-bench-") as scratch, ExitStack() as resources:
        folder = Path(scratch)
        start = (
            running_embedded() if name == "embedded" else running_kafka(folder, DELETE_FILES_AT_ONCE + kafka_settings)
        )
        try:
            broker = resources.enter_context(start)
        except pytest.skip.Exception as skipped:
            raise BrokerUnavailable(f"{name}: {skipped}") from None
        yield Testbed(broker, folder, resources)
