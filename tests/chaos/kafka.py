"""An Apache Kafka that can be stopped and restarted, with the same data and port."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from string import Template

from metroline.app.local.broker_probe import wait_until_it_answers
from metroline.app.local.child_process import Child
from metroline.app.local.ports import HOST, free_port
from tests.support.brokers import CLUSTER, HERE, JAVA, KAFKA_SECONDS, Broker, kafka_jars

STOP_SECONDS = 60.0


class Kafka:
    """A node with its data and one log for each start (`kafka-0.log`, …) in a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port = free_port()
        self.broker = Broker("kafka", f"{HOST}:{self.port}")
        self._java = [*JAVA, "-cp", f"{kafka_jars()}/*"]
        self._settings = str(folder / "server.properties")
        template = Template((HERE / "kafka" / "server.properties").read_text("utf-8"))
        text = template.substitute(port=self.port, controller_port=free_port(), folder=folder)
        Path(self._settings).write_text(text, "utf-8")
        storage = ["kafka.tools.StorageTool", "format", "--standalone", "-t", CLUSTER, "-c", self._settings]
        subprocess.run([*self._java, *storage], check=True, capture_output=True)
        self._starts = 0
        self._child: Child | None = None

    def start(self) -> None:
        """Start the node, and return when it answers."""
        log = self.folder / f"kafka-{self._starts}.log"
        self._starts += 1
        self._child = Child.start([*self._java, "kafka.Kafka", self._settings], log, self.folder)
        wait_until_it_answers(self._child, self.port, CLUSTER, timeout=KAFKA_SECONDS)

    def stop(self) -> None:
        if self._child is not None:
            self._child.stop(STOP_SECONDS)


@contextmanager
def restartable_kafka(folder: Path) -> Iterator[Kafka]:
    """Run a node that can be restarted, and stop it at the end."""
    kafka = Kafka(folder)
    try:
        kafka.start()
        yield kafka
    finally:
        kafka.stop()
