"""The records of a live run: a pool that repeats, each record with its number and the time when it is due."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import count
from pathlib import Path

import orjson

from benchmarks.systems.expected import Record, RecordResult, digest, metrobus
from metroline.agents.lines.metrobus.records import records as notices

POOL = 5_000
"""Number of different records. In any 50 records, the shares of the line's records are exact."""


@dataclass(frozen=True, slots=True)
class Stream:
    """The pool, as JSON lines, and the digest of what is delivered for each of its records (None: dropped)."""

    lines: tuple[bytes, ...]
    results: tuple[bytes | None, ...]

    @classmethod
    def make(cls, evaluate: Callable[[Record], RecordResult] = metrobus, pool: int = POOL) -> Stream:
        records = list(notices(pool, seed=1))
        results = (evaluate(record) for record in records)
        digests = tuple(None if isinstance(result, str) else digest(result) for result in results)
        return cls(tuple(map(orjson.dumps, records)), digests)

    def result(self, number: int) -> bytes | None:
        """Return the digest of what is delivered for the record with this number, or None if it is dropped."""
        return self.results[number % len(self.results)]

    def delivered_of(self, numbers: range) -> int:
        """Return how many of these records are delivered."""
        return sum(self.result(number) is not None for number in numbers)

    def write(self, file: Path) -> None:
        file.write_bytes(b"\n".join(self.lines))


def stamped(lines: Iterable[bytes], numbers: range, rate: float, started_at: float) -> Iterator[tuple[bytes, int]]:
    """Yield the messages with these numbers, one record each; the first is due at `started_at`, in epoch seconds."""
    pool = list(lines)
    for place, number in zip(count(), numbers):
        line = pool[number % len(pool)]
        yield b'{"number":%d,"due":%.6f,%b' % (number, started_at + place / rate, line[1:]), 1


def unstamped(record: Record) -> tuple[int, float, Record]:
    """Return the number, the due time and the rest of a record that was delivered."""
    return int(record.pop("number")), float(record.pop("due")), record
