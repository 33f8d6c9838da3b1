"""What is measured: Metroline's strategies and the peers, each as a process that is started the same way."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import orjson

from benchmarks.systems.brokers import Place, has_redis
from benchmarks.systems.expected import Record
from metroline.app.local.child_process import Child
from metroline.app.local.worker_process import WorkerProcess
from metroline.routing.messages.envelope import Envelope
from metroline.routing.outcome import Ending
from metroline.routing.strategies import STRATEGIES

ROOT = Path(__file__).parents[2]
PEERS_PYTHON = ROOT / ".venv-bench" / "bin" / "python"
STOP_SECONDS = 15.0


@dataclass(frozen=True, slots=True)
class Job:
    """Where a system shall run, and how."""

    place: Place
    prefix: str
    session: float
    """Seconds after which a group gives a silent member up."""
    at_load: bool
    """Whether throughput counts; otherwise latency does."""
    name: str = "worker"
    """Of the file that its log goes to."""

    @property
    def source(self) -> str:
        return f"{self.prefix}-source"

    @property
    def log(self) -> Path:
        return self.place.folder / f"{self.prefix}-{self.name}.log"

    @property
    def variables(self) -> dict[str, str]:
        """What all systems read from their environment."""
        common = {"SOURCE": self.source, "PREFIX": self.prefix, "BROKER_SESSION_TIMEOUT": str(self.session)}
        return {**os.environ, **self.place.waits(at_load=self.at_load), **common}


class Running(Protocol):
    """A process of a system."""

    @property
    def child(self) -> Child: ...

    def stop(self) -> int | None:
        """Ends it in order; gives how many records it says that it dropped."""


class System(Protocol):
    """Something that takes records through a line."""

    @property
    def name(self) -> str: ...
    @property
    def title(self) -> str: ...
    @property
    def guarantee(self) -> str:
        """What holds when a process is killed."""

    @property
    def most(self) -> int:
        """Records that it is given at most: slow ones get fewer."""

    def missing(self) -> str | None:
        """Why it cannot be run here."""

    def topics(self, prefix: str) -> list[str]:
        """Those that must exist before it is started."""

    def first_hops(self, prefix: str) -> list[str]:
        """The topics to one of which each record goes first."""

    def records_in(self, message: bytes) -> int:
        """How many records a delivered message holds, told in passing."""

    def records_of(self, message: bytes) -> Iterator[Record]:
        """The records of a delivered message."""

    def start(self, job: Job) -> Running: ...


@dataclass(slots=True)
class Worker:
    """A worker of Metroline that runs."""

    process: WorkerProcess

    @property
    def child(self) -> Child:
        return self.process.child

    def stop(self) -> int | None:
        told = self.process.get("/traffic/")
        self.process.child.stop(STOP_SECONDS)
        return None if told is None else int(told["settled"].get(Ending.DROPPED.value, 0))


@dataclass(frozen=True, slots=True)
class Strategy:
    """Metroline under one of its strategies, in one worker of all roles."""

    name: str
    line: str = "metroline.agents.lines.metrobus"
    first_stops: tuple[str, ...] = ("contact_point",)
    more: tuple[tuple[str, str], ...] = ()
    """Settings that differ from the defaults."""
    most: int = 10_000_000
    guarantee: str = "at least once between stops; each record has one outcome in the counts"

    @property
    def title(self) -> str:
        return f"Metroline `{self.name}`"

    def missing(self) -> str | None:
        return None

    def topics(self, prefix: str) -> list[str]:
        """None: a worker makes its own."""
        return []

    def first_hops(self, prefix: str) -> list[str]:
        first = [f"service.{stop}" for stop in self.first_stops]
        return [f"{prefix}.{address}" for address in ["map-maker", "conductor", *first]]

    def records_in(self, message: bytes) -> int:
        """An envelope is a line of header and a line a record."""
        return message.count(b"\n")

    def records_of(self, message: bytes) -> Iterator[Record]:
        for segment in Envelope.decode(message).segments:
            for line in segment.lines:
                yield orjson.loads(line)

    def start(self, job: Job) -> Running:
        variables = job.variables | {
            "BROKER_URL": job.place.broker.url,
            "LINE": self.line,
            "ROUTING_STRATEGY": self.name,
            "ROLE": "all",
            "LOG_LEVEL": "warning",
            **dict(self.more),
        }
        return Worker(WorkerProcess.start(variables, job.log))


@dataclass(slots=True)
class PeerProcess:
    """A peer that runs."""

    child: Child
    dropped: Path

    def stop(self) -> int | None:
        self.child.stop(STOP_SECONDS)
        return sum(json.loads(self.dropped.read_text("utf-8")).values()) if self.dropped.is_file() else None


@dataclass(frozen=True, slots=True)
class Peer:
    """Another way to do the line's work: a module of benchmarks/peers."""

    name: str
    title: str
    guarantee: str
    needs: str
    """The module without which it does not run."""
    most: int = 10_000_000
    is_ours: bool = False
    """Whether it needs nothing that Metroline does not need itself, and runs on the same packages."""

    @property
    def python(self) -> str:
        return sys.executable if self.is_ours else str(PEERS_PYTHON)

    def missing(self) -> str | None:
        if not Path(self.python).is_file():
            return "its packages are not installed (`make bench` installs them into .venv-bench)"
        tried = subprocess.run(
            [self.python, "-W", "ignore", "-c", f"import {self.needs}"], capture_output=True, text=True, check=False
        )
        if tried.returncode:
            return f"it cannot be imported ({(tried.stderr.strip().splitlines() or ['no word'])[-1]})"
        if self.needs == "metrobus" and not has_redis():
            return "it counts in a Redis, and there is no redis-server here"
        return None

    def topics(self, prefix: str) -> list[str]:
        return [f"{prefix}.{stop}" for stop in ("contact_point", "allow_list", "log", "delivered")]

    def first_hops(self, prefix: str) -> list[str]:
        return [f"{prefix}.contact_point"]

    def records_in(self, message: bytes) -> int:
        return 1

    def records_of(self, message: bytes) -> Iterator[Record]:
        """Metrobus keeps its own header in the message."""
        record = orjson.loads(message)
        yield record["payload"] if "payload" in record and "header" in record else record

    def start(self, job: Job) -> Running:
        dropped = job.log.with_suffix(".dropped")
        variables = job.variables | {
            "BROKER": job.place.broker.bootstrap,
            "PYTHONPATH": str(ROOT),
            "DROPPED": str(dropped),
            "FOLDER": str(job.place.folder),
            "AT_LOAD": "1" if job.at_load else "0",
        }
        if self.needs == "metrobus":
            host, port = job.place.broker.bootstrap.split(":")
            variables |= {"KAFKA_HOST": host, "KAFKA_PORT": port, "REDIS_PORT": str(job.place.redis_port())}
        command = [self.python, "-W", "ignore", "-m", f"benchmarks.peers.{self.name}"]
        return PeerProcess(Child.start(command, job.log, job.place.folder, variables), dropped)


CONFIRMED = "at least once: commits what follows a confirmed batch"
SYSTEMS: tuple[System, ...] = (
    *(Strategy(name) for name in STRATEGIES),
    Peer("raw_confluent", "raw confluent-kafka", CONFIRMED, "confluent_kafka", is_ours=True),
    Peer("raw_aiokafka", "raw aiokafka", CONFIRMED, "aiokafka", is_ours=True),
    Peer(
        "quix_streams",
        "Quix Streams",
        "at least once: flushes its producer, then commits, every second",
        "quixstreams",
        most=50_000,
    ),
    Peer(
        "faststream_batch",
        "FastStream, batches",
        "at least once: commits each batch after what it published is confirmed",
        "faststream.kafka",
        most=50_000,
    ),
    Peer(
        "faststream_single",
        "FastStream, one by one",
        "commits by time what was read: the record in hand may be lost, at each stop",
        "faststream.kafka",
        most=5_000,
    ),
    Peer(
        "plain_faust",
        "plain Faust",
        "commits every second what its agents are done with; what they sent may not be confirmed then",
        "faust",
        most=10_000,
    ),
    Peer(
        "metrobus_peer",
        "Metrobus 0.0.23",
        "commits by time what was read, whatever became of it; no confirmation is waited for",
        "metrobus",
        most=5_000,
    ),
)
