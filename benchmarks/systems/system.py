"""A system under test: a process that takes records through a line, started the same way for all."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from benchmarks.systems.brokers import Testbed
from benchmarks.systems.expected import Record
from metroline.app.local.child_process import Child

ROOT = Path(__file__).parents[2]
PEERS_PYTHON = ROOT / ".venv-bench" / "bin" / "python"
STOP_SECONDS = 15.0


@dataclass(frozen=True, slots=True)
class RunConfig:
    """The topics, timeouts and files of one run of a system."""

    testbed: Testbed
    prefix: str
    session_seconds: float
    """Time after which a consumer group gives up a silent member."""
    at_load: bool
    """True if the run measures throughput, False if it measures latency."""
    name: str = "worker"
    """Name of the log file, after the prefix."""

    @property
    def source(self) -> str:
        return f"{self.prefix}-source"

    @property
    def log(self) -> Path:
        return self.testbed.folder / f"{self.prefix}-{self.name}.log"

    @property
    def variables(self) -> dict[str, str]:
        """Return the environment variables that all systems read."""
        common = {"SOURCE": self.source, "PREFIX": self.prefix, "BROKER_SESSION_TIMEOUT": str(self.session_seconds)}
        return {**os.environ, **self.testbed.client_settings(at_load=self.at_load), **common}


class RunningSystem(Protocol):
    """A running process of a system."""

    @property
    def child(self) -> Child: ...

    def stop(self) -> int | None:
        """Stop the process in order. Return the number of records that it reports as dropped."""


class System(Protocol):
    """Takes records through a line."""

    @property
    def name(self) -> str: ...
    @property
    def title(self) -> str: ...
    @property
    def guarantee(self) -> str:
        """The delivery guarantee when the process is killed."""

    @property
    def max_records(self) -> int:
        """The number of records that a run is limited to, lower for slow systems."""

    def unavailable(self) -> str | None:
        """Return the reason why the system cannot run on this machine, or None."""

    def topics(self, prefix: str) -> list[str]:
        """Return the topics that must exist before the system starts."""

    def first_topics(self, prefix: str) -> list[str]:
        """Return the topics to which a record can go first."""

    def count_records(self, message: bytes) -> int:
        """Return the number of records in a delivered message, without decoding it."""

    def decode_records(self, message: bytes) -> Iterator[Record]:
        """Yield the records of a delivered message."""

    def start(self, config: RunConfig) -> RunningSystem: ...
