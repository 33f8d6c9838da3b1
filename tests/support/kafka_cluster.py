"""Three nodes of Apache Kafka that keep three copies of each topic: one may be away, and nothing is lost."""

from __future__ import annotations

import asyncio
import base64
import logging
import time
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

from aiokafka.errors import KafkaError
from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient, PartitionMetadata

from metroline.agents.kafka.cluster import Cluster, ClusterError
from metroline.app.local.ports import HOST, free_port
from tests.support.brokers import HERE, Broker, kafka_node, run
from tests.support.kafka_node import KafkaNode

COPIES = 3
"""Number of nodes, each of which has a copy of every partition."""

OPTIONS = ["-Xmx256m", "-XX:+UseSerialGC"]
"""Java's options for each node; the data of a test are small."""

ASK_SECONDS = 10.0
"""Time that the cluster has to answer a question; it is asked again for `PATIENCE_SECONDS`."""

PATIENCE_SECONDS = 120.0


class KafkaCluster:
    """The nodes of a cluster, each with its id."""

    def __init__(self, nodes: dict[int, KafkaNode]) -> None:
        self.nodes = nodes
        self.broker = Broker("kafka", ",".join(node.bootstrap for node in nodes.values()))
        silent = logging.Logger("a node that is away is no news to a test", level=logging.CRITICAL)
        self._admin = AdminClient({"bootstrap.servers": self.broker.bootstrap}, logger=silent)

    def coordinator(self, group: str) -> int | None:
        """Return the id of the node that coordinates a consumer group; None while there is none. Called in a thread."""
        try:
            return asyncio.run(_coordinator(self.broker, group))
        except (KafkaError, ClusterError, TimeoutError):
            return None

    def leaders(self, topic: str) -> set[int]:
        """Return the ids of the nodes that lead partitions of a topic."""
        return {partition.leader for partition in self._partitions(topic)}

    def is_whole(self, topic: str) -> bool:
        """Return whether every node has an up-to-date copy of each partition of a topic."""
        return all(len(partition.isrs) == COPIES for partition in self._partitions(topic))

    def copies(self, topic: str) -> set[int]:
        """Return the numbers of copies that the partitions of a topic have, in sync or not."""
        return {len(partition.replicas) for partition in self._partitions(topic)}

    def _partitions(self, topic: str) -> list[PartitionMetadata]:
        deadline = time.monotonic() + PATIENCE_SECONDS
        while True:
            try:
                found = self._admin.list_topics(topic, timeout=ASK_SECONDS).topics[topic]
            except KafkaException:
                assert time.monotonic() < deadline, "no node of the cluster answers"
                continue
            assert found.error is None, found.error
            return list(found.partitions.values())


async def _coordinator(broker: Broker, group: str) -> int:
    """Ask with a client of aiokafka: one of librdkafka that has seen two nodes away in turn finds none any more."""
    async with asyncio.timeout(ASK_SECONDS), Cluster.at(broker.url).admin() as admin:
        return int(await admin.find_coordinator(group))


@contextmanager
def running_cluster(folder: Path) -> Iterator[KafkaCluster]:
    """Run three nodes on free ports, each of them a broker and a controller, with their data in `folder`."""
    ports = {number: free_port() for number in range(1, COPIES + 1)}
    controllers = {number: f"{HOST}:{port}" for number, port in ports.items()}
    voters = ",".join(f"{number}@{at}:{_directory_id()}" for number, at in controllers.items())
    more = (HERE / "kafka" / "cluster.properties").read_text("utf-8")
    nodes = {}
    for number, port in ports.items():
        own = folder / f"node-{number}"
        own.mkdir()
        values = {"node": number, "controller_port": port, "controllers": ",".join(controllers.values())}
        nodes[number] = kafka_node(own, free_port(), more, OPTIONS, **values)
    with ThreadPoolExecutor(COPIES) as pool:
        list(pool.map(lambda node: run(node.format_command("--initial-controllers", voters)), nodes.values()))
    try:
        for node in nodes.values():
            node.begin()
        for node in nodes.values():
            node.wait()
        yield KafkaCluster(nodes)
    finally:
        for node in nodes.values():
            node.stop(timeout=0)  # in order it would take long: the last ones miss their majority


def _directory_id() -> str:
    """Return an id of a folder of data in the form that Kafka wants: 16 bytes in base64, which begin with no dash."""
    return base64.urlsafe_b64encode(b"\x01" + uuid.uuid4().bytes[1:]).decode().rstrip("=")
