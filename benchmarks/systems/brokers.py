"""The brokers of a run, what suits each of them, and the Redis that one of the peers wants."""

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
"""A first join to the embedded broker takes half of the rebalance timeout, and a group here has one process."""


class BrokerUnavailable(MetrolineError):
    """Raised when a broker cannot be started on this machine."""


AT_ONCE = """
log.segment.delete.delay.ms=100
"""
"""A Kafka deletes files a minute after their topic and stands still meanwhile, up to a second: that hit a later run."""


@dataclass(slots=True)
class Place:
    """Where a run takes place."""

    broker: Broker
    folder: Path
    """Files of the run; deleted at the end."""
    resources: ExitStack = field(default_factory=ExitStack)
    _redis_port: int | None = None

    @property
    def cluster(self) -> Cluster:
        return Cluster.at(self.broker.url)

    def waits(self, *, at_load: bool) -> dict[str, str]:
        """How clients wait: the embedded broker does not wake on data; Apache Kafka does, and needs no setting."""
        if self.broker.name != "embedded":
            return {}
        return LOCAL | {"BROKER_REBALANCE_TIMEOUT": JOIN_SECONDS} | ({"FETCH_WAIT": AT_LOAD} if at_load else {})

    def redis_port(self) -> int:
        """Of a Redis that keeps nothing on disk, started when it is first asked for."""
        if self._redis_port is None:
            self._redis_port = free_port()
            command = [REDIS, "--bind", HOST, "--port", str(self._redis_port), "--save", "", "--appendonly", "no"]
            child = Child.start(command, self.folder / "redis.log", self.folder)
            self.resources.callback(child.stop)
        return self._redis_port

    def delete(self, prefix: str) -> None:
        """Deletes the topics of a run."""
        asyncio.run(_delete(self.cluster, prefix))


async def _delete(cluster: Cluster, prefix: str) -> None:
    await TopicAdmin(cluster).delete([*await TopicAdmin(cluster).topics_below(prefix), f"{prefix}-source"])


def has_redis() -> bool:
    return shutil.which(REDIS) is not None


@contextmanager
def running(name: str, more: str = "") -> Iterator[Place]:
    """The broker `embedded` or `kafka`, on a free port of this machine; `more` are settings of Apache Kafka."""
    with tempfile.TemporaryDirectory(prefix="metroline-bench-") as scratch, ExitStack() as resources:
        folder = Path(scratch)
        start = running_embedded() if name == "embedded" else running_kafka(folder, AT_ONCE + more)
        try:
            broker = resources.enter_context(start)
        except pytest.skip.Exception as missing:
            raise BrokerUnavailable(f"{name}: {missing}") from None
        yield Place(broker, folder, resources)
