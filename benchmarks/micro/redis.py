"""A Redis on this machine, in memory only, and what it does with the same keys."""

from __future__ import annotations

import csv
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, Self

import psutil
import redis

from benchmarks.micro.lookup_readers import drawn, nanoseconds, value_of
from metroline.app.local.ports import HOST, free_port

TOGETHER = 100
"""Keys that are asked for at once."""
LOADED = 5_000
"""Keys that are written at once."""
START_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class RedisPeer:
    """A running server, with a client whose answers are parsed by hiredis, the fastest there is for Python."""

    client: redis.Redis
    process: psutil.Process

    @classmethod
    @contextmanager
    def started(cls, folder: Path) -> Iterator[Self]:
        """Keeps nothing on disk, and is gone at the end."""
        server = shutil.which("redis-server")
        if server is None:
            raise SystemExit("there is no redis-server: install the package of that name (Debian)")
        port = free_port()
        command = [
            server,
            "--bind",
            HOST,
            "--port",
            str(port),
            "--save",
            "",
            "--appendonly",
            "no",
            "--dir",
            str(folder),
        ]
        with subprocess.Popen(command, stdout=subprocess.DEVNULL) as running:
            try:
                with redis.Redis(HOST, port, decode_responses=True) as client:
                    _wait(client)
                    yield cls(client, psutil.Process(running.pid))
            finally:
                running.terminate()

    def measured(self, rows: Path, first: int, keys: int, hits: int) -> dict[str, float]:
        """Loads all, then times one connection: a key at a time, in pipelines, and with MGET."""
        started = time.perf_counter()
        with rows.open(encoding="ascii", newline="") as text:
            lines = csv.reader(text)
            next(lines)
            while batch := dict(islice(lines, LOADED)):
                self.client.mset(batch)
        loading = time.perf_counter() - started
        probe = drawn(first, keys, min(hits, 100_000))
        if self.client.dbsize() != keys or self.client.get(str(probe[0])) != value_of(probe[0]):
            raise SystemExit("Redis does not have what was written")
        packs = [probe[start : start + TOGETHER] for start in range(0, len(probe), TOGETHER)]
        return {
            "load_seconds": round(loading, 1),
            "get_ns": nanoseconds(self.client.get, probe),
            "pipelined_ns": self._of_each(self._pipelined, packs),
            "mget_ns": self._of_each(self.client.mget, packs),
            "rss_mb": round(self.process.memory_info().rss / 1e6, 1),
        }

    def _pipelined(self, keys: Sequence[int]) -> None:
        pipeline = self.client.pipeline(transaction=False)
        for key in keys:
            pipeline.get(str(key))
        pipeline.execute()

    def _of_each(self, get: Callable[[Any], Any], packs: Sequence[Sequence[int]]) -> float:
        return round(nanoseconds(get, packs) / TOGETHER, 1)


def _wait(client: redis.Redis) -> None:
    deadline = time.monotonic() + START_SECONDS
    while True:
        try:
            client.ping()
            return
        except redis.exceptions.RedisError:
            if time.monotonic() > deadline:
                raise SystemExit(f"redis-server does not answer within {START_SECONDS:g} s") from None
        time.sleep(0.05)
