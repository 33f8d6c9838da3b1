"""A peer, as a system under test: another way to do the work of the line metrobus."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import orjson

from benchmarks.systems.brokers import has_redis
from benchmarks.systems.expected import Record
from benchmarks.systems.system import PEERS_PYTHON, ROOT, STOP_SECONDS, RunConfig, RunningSystem
from metroline.app.local.child_process import Child


@dataclass(slots=True)
class PeerProcess:
    """A running peer."""

    child: Child
    dropped: Path
    """The file into which the peer writes its numbers of dropped records, by reason, as JSON."""

    def stop(self) -> int | None:
        self.child.stop(STOP_SECONDS)
        return sum(json.loads(self.dropped.read_text("utf-8")).values()) if self.dropped.is_file() else None


@dataclass(frozen=True, slots=True)
class Peer:
    """A module of benchmarks/peers."""

    name: str
    title: str
    guarantee: str
    module: str
    """A module that the peer imports; the peer is left out where it is not installed."""
    max_records: int = 10_000_000
    shares_packages: bool = False
    """True if the peer runs on Metroline's own packages."""

    @property
    def python(self) -> str:
        return sys.executable if self.shares_packages else str(PEERS_PYTHON)

    def unavailable(self) -> str | None:
        if not Path(self.python).is_file():
            return "its packages are not installed (`make bench` installs them into .venv-bench)"
        command = [self.python, "-W", "ignore", "-c", f"import {self.module}"]
        tried = subprocess.run(command, capture_output=True, text=True, check=False)
        if tried.returncode:
            return f"it cannot be imported ({(tried.stderr.strip().splitlines() or ['no message'])[-1]})"
        if self.module == "metrobus" and not has_redis():
            return "it counts in a Redis, and redis-server is not installed"
        return None

    def topics(self, prefix: str) -> list[str]:
        return [f"{prefix}.{stop}" for stop in ("contact_point", "allow_list", "log", "delivered")]

    def first_topics(self, prefix: str) -> list[str]:
        return [f"{prefix}.contact_point"]

    def count_records(self, message: bytes) -> int:
        return 1

    def decode_records(self, message: bytes) -> Iterator[Record]:
        """Yield the record, without the header that Metrobus adds to a message."""
        record = orjson.loads(message)
        yield record["payload"] if "payload" in record and "header" in record else record

    def start(self, config: RunConfig) -> RunningSystem:
        dropped = config.log.with_suffix(".dropped")
        testbed = config.testbed
        variables = config.variables | {
            "BROKER": testbed.broker.bootstrap,
            "PYTHONPATH": str(ROOT),
            "DROPPED": str(dropped),
            "FOLDER": str(testbed.folder),
            "AT_LOAD": "1" if config.at_load else "0",
        }
        if self.module == "metrobus":
            host, port = testbed.broker.bootstrap.split(":")
            variables |= {"KAFKA_HOST": host, "KAFKA_PORT": port, "REDIS_PORT": str(testbed.redis_port())}
        command = [self.python, "-W", "ignore", "-m", f"benchmarks.peers.{self.name}"]
        return PeerProcess(Child.start(command, config.log, testbed.folder, variables), dropped)
