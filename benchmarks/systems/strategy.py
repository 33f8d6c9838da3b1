"""Metroline under one of its strategies, as a system under test."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import orjson

from benchmarks.systems.expected import Record
from benchmarks.systems.system import STOP_SECONDS, RunConfig, RunningSystem
from metroline.app.local.child_process import Child
from metroline.app.local.worker_process import WorkerProcess
from metroline.routing.outcome import Ending


@dataclass(slots=True)
class RunningWorker:
    """A running worker of Metroline."""

    process: WorkerProcess

    @property
    def child(self) -> Child:
        return self.process.child

    def stop(self) -> int | None:
        traffic = self.process.get("/traffic/")
        self.process.child.stop(STOP_SECONDS)
        return None if traffic is None else int(traffic["settled"].get(Ending.DROPPED.value, 0))


@dataclass(frozen=True, slots=True)
class Strategy:
    """Metroline under one of its strategies: one worker with all roles."""

    name: str
    line: str = "metroline.agents.lines.metrobus"
    first_stops: tuple[str, ...] = ("contact_point",)
    settings: tuple[tuple[str, str], ...] = ()
    """Settings that differ from the defaults."""
    max_records: int = 10_000_000
    guarantee: str = "at least once between stops; one outcome per record in the counts"

    @property
    def title(self) -> str:
        return f"Metroline `{self.name}`"

    def unavailable(self) -> str | None:
        return None

    def topics(self, prefix: str) -> list[str]:
        """Return no topics: a worker creates its own."""
        return []

    def first_topics(self, prefix: str) -> list[str]:
        first = [f"service.{stop}" for stop in self.first_stops]
        return [f"{prefix}.{address}" for address in ["arrivals", "map-maker", "conductor", *first]]

    def count_records(self, message: bytes) -> int:
        """Return 1: every delivered record is a message of its own."""
        return 1

    def decode_records(self, message: bytes) -> Iterator[Record]:
        yield orjson.loads(message)

    def start(self, config: RunConfig) -> RunningSystem:
        variables = config.variables | {
            "BROKER_URL": config.testbed.broker.url,
            "LINE": self.line,
            "ROUTING_STRATEGY": self.name,
            "ROLE": "all",
            "LOG_LEVEL": "warning",
            **dict(self.settings),
        }
        return RunningWorker(WorkerProcess.start(variables, config.log))
