"""A Redis on this machine, without persistence, that is measured with the same keys."""

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

from benchmarks.micro.lookup_readers import nanoseconds, random_keys, value_of
from metroline.app.local.ports import HOST, free_port

KEYS_PER_READ = 100
"""Number of keys in a pipeline or an MGET."""
KEYS_PER_WRITE = 5_000
"""Number of keys in an MSET."""
MAX_HITS = 100_000
START_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class RedisPeer:
    """A running server and a client, which parses answers with hiredis, the fastest parser for Python."""

    client: redis.Redis
    process: psutil.Process

    @classmethod
    @contextmanager
    def started(cls, folder: Path) -> Iterator[Self]:
        """Run a server without persistence while the block runs."""
        server = shutil.which("redis-server")
        if server is None:
            raise SystemExit("redis-server is not installed (Debian: apt install redis-server)")
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
        """Load all rows, then time one connection: single keys, pipelines and MGET. Times are nanoseconds per key."""
        started = time.perf_counter()
        with rows.open(encoding="ascii", newline="") as text:
            lines = csv.reader(text)
            next(lines)
            while batch := dict(islice(lines, KEYS_PER_WRITE)):
                self.client.mset(batch)
        loading = time.perf_counter() - started
        probe = random_keys(first, keys, min(hits, MAX_HITS))
        if self.client.dbsize() != keys or self.client.get(str(probe[0])) != value_of(probe[0]):
            raise SystemExit("Redis does not hold the entries that were written")
        packs = [probe[start : start + KEYS_PER_READ] for start in range(0, len(probe), KEYS_PER_READ)]
        return {
            "load_seconds": round(loading, 1),
            "get_ns": nanoseconds(self.client.get, probe),
            "pipelined_ns": self._per_key(self._pipelined, packs),
            "mget_ns": self._per_key(self.client.mget, packs),
            "rss_mb": round(self.process.memory_info().rss / 1e6, 1),
        }

    def _pipelined(self, keys: Sequence[int]) -> None:
        pipeline = self.client.pipeline(transaction=False)
        for key in keys:
            pipeline.get(str(key))
        pipeline.execute()

    def _per_key(self, get: Callable[[Any], Any], packs: Sequence[Sequence[int]]) -> float:
        return round(nanoseconds(get, packs) / KEYS_PER_READ, 1)


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
