"""A node of Apache Kafka as a process: it can be stopped, killed, frozen and started again with its data and ports."""

from __future__ import annotations

import os
import signal
from collections.abc import Sequence
from pathlib import Path

from metroline.app.local.broker_probe import wait_until_it_answers
from metroline.app.local.child_process import Child
from metroline.app.local.ports import HOST

CLUSTER = "4L6g3nShT-eMCtK--X86sw"  # the form that Kafka wants: 16 bytes in base64

START_SECONDS = 180.0
"""Deadline for the start of a node, in seconds; a busy machine takes more than a minute."""

STOP_SECONDS = 60.0
"""Time that a node has to stop before it is killed, in seconds."""


class KafkaNode:
    """A node with its settings (`server.properties`), its data and one log for each start (`kafka-0.log`, …)."""

    def __init__(self, folder: Path, java: Sequence[str], port: int, settings: str) -> None:
        """Take a folder that exists, the command of Java with its class path, and the text of the settings."""
        self.port = port
        self._folder = folder
        self._java = java
        self._settings = folder / "server.properties"
        self._settings.write_text(settings, "utf-8")
        self._starts = 0
        self._child: Child | None = None

    @property
    def bootstrap(self) -> str:
        """127.0.0.1:PORT, the form that Kafka clients expect."""
        return f"{HOST}:{self.port}"

    def format_command(self, *words: str) -> list[str]:
        """Return the command that prepares the folder of its data, with further words for it."""
        storage = ["kafka.tools.StorageTool", "format", "-t", CLUSTER, "-c", str(self._settings)]
        return [*self._java, *storage, *words]

    def start(self) -> None:
        """Start the node, and return when it answers."""
        self.begin()
        self.wait()

    def begin(self) -> None:
        """Start the process of the node."""
        log = self._folder / f"kafka-{self._starts}.log"
        self._starts += 1
        self._child = Child.start([*self._java, "kafka.Kafka", str(self._settings)], log, self._folder)

    def wait(self) -> None:
        """Return when the node answers; raise `BrokerDied` or `BrokerSilent`."""
        wait_until_it_answers(self._running, self.port, CLUSTER, timeout=START_SECONDS)

    def stop(self, timeout: float = STOP_SECONDS) -> None:
        """Have the node end in order (SIGTERM), if it runs; kill it after `timeout` seconds."""
        if self._child is not None:
            self._child.stop(timeout)

    def kill(self) -> None:
        """End the node at once (SIGKILL)."""
        self._send(signal.SIGKILL)
        self._running.stop()

    def freeze(self) -> None:
        """Let the node stand still (SIGSTOP) until `thaw`; its connections stay open."""
        self._send(signal.SIGSTOP)

    def thaw(self) -> None:
        """Let a frozen node go on."""
        self._send(signal.SIGCONT)

    def _send(self, number: signal.Signals) -> None:
        os.kill(self._running.pid, number)

    @property
    def _running(self) -> Child:
        assert self._child is not None, "it was not started"
        return self._child
