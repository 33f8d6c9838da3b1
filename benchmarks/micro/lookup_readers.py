"""Reader processes: each times lookups in a table, and stays until its memory has been measured."""

from __future__ import annotations

import csv
import multiprocessing
import random
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import psutil

from metroline import lookup

ROUNDS = 5
KEYS_PER_TOUCH = 16
"""A page holds more entries than this, so reading every 16th touches all pages."""


@dataclass(frozen=True, slots=True)
class Reader:
    """A running reader with its timings, in nanoseconds per lookup."""

    process: psutil.Process
    figures: dict[str, float]

    def rss_mb(self) -> float:
        return _mb(self.process.memory_info().rss)

    def pss_mb(self, file: Path) -> dict[str, float]:
        """Return the proportional set size of the process and of its pages of a file, in MB.

        A page that two processes share counts half for each.
        """
        maps = [one for one in self.process.memory_maps(grouped=True) if one.path == str(file)]
        return {"process": _mb(self.process.memory_full_info().pss), "file": _mb(sum(one.pss for one in maps))}


@contextmanager
def running_reader(kind: str, table: str, first: int, keys: int, hits: int) -> Iterator[Reader]:
    """Run a reader in a new process that shares no memory with this one."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_read, args=(KINDS[kind], theirs, table, first, keys, hits), daemon=True)
    process.start()
    try:
        yield Reader(psutil.Process(process.pid), ours.recv())
        ours.send("end")
        process.join()
    finally:
        process.kill()


def _read(time_it: Callable[..., dict[str, float]], pipe: Connection, table: str, *size: int) -> None:
    pipe.send(time_it(table, *size))
    pipe.recv()


def _time_lookup(name: str, first: int, keys: int, hits: int) -> dict[str, float]:
    table, probe = lookup(name), random_keys(first, keys, hits)
    if len(table) != keys or table.get(probe[0]) != value_of(probe[0]):
        raise SystemExit(f"lookup {name} does not hold the entries that were written")
    for key in range(first, first + keys, KEYS_PER_TOUCH):
        table.get(key)
    texts, others = list(map(str, probe)), [key + keys for key in probe]
    return {
        "hit_ns": nanoseconds(table.get, probe),
        "text_hit_ns": nanoseconds(table.get, texts),
        "in_ns": nanoseconds(table.__contains__, probe),
        "miss_ns": nanoseconds(table.get, others),
    }


def _time_dict(file: str, first: int, keys: int, hits: int) -> dict[str, float]:
    with open(file, encoding="ascii", newline="") as text:
        rows = csv.reader(text)
        next(rows)
        table = {int(key): value for key, value in rows}
    figures = {"hit_ns": nanoseconds(table.get, random_keys(first, keys, hits))}
    _kept.append(table)
    return figures


def random_keys(first: int, keys: int, hits: int) -> list[int]:
    """Return random keys, the same on each call."""
    source = random.Random(1)
    return [first + int(source.random() * keys) for _ in range(hits)]


def value_of(key: int) -> str:
    return f"customer{key}@bank.example"


def nanoseconds(get: Callable[[Any], Any], probe: Sequence[Any]) -> float:
    """Return the time of one call, including the loop: that of the fastest round, the least disturbed one."""
    best = float("inf")
    for _ in range(ROUNDS):
        started = time.perf_counter_ns()
        for key in probe:
            get(key)
        best = min(best, time.perf_counter_ns() - started)
    return round(best / len(probe), 1)


def _mb(size: float) -> float:
    return round(size / 1e6, 1)


_kept: list[Any] = []
"""Keeps a table alive until the memory of the process has been measured."""

KINDS = {"lookup": _time_lookup, "dict": _time_dict}
