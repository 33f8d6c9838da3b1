"""The records of a comparison: the user's own file or the line's, loaded into a source topic once."""

from __future__ import annotations

import asyncio
import time
from array import array
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson

from agents.cluster import Cluster
from agents.line import Line
from app.rows import UnreadableRecords, csv_rows, json_lines, opened, value_of
from routing.envelope import RecordId

CHUNK = 2_000
"""Messages that may be unconfirmed while the source is loaded."""


def records_of(what: str, line: Line, seed: int = 1) -> Iterator[bytes]:
    """The source messages that `--records` names: a number of the line's own, or a file (JSON lines, CSV, also .gz)."""
    if what.replace("_", "").isdigit():
        for record in line.records(int(what), seed):
            yield record if isinstance(record, bytes) else orjson.dumps(record)
        return
    file = Path(what)
    if not file.is_file():
        raise UnreadableRecords(f"--records {what}: neither a number nor a file")
    with opened(file) as source:
        if source.is_csv:
            _, names = next(rows := csv_rows(source))
            for _, row in rows:
                yield orjson.dumps(dict(zip(names, map(value_of, row), strict=True)))
        else:
            for _, message in json_lines(source):
                yield message


@dataclass(slots=True)
class Sent:
    """What was sent: the index in the input of the record at each confirmed (partition, offset)."""

    records: int = 0
    times: array[float] = field(default_factory=lambda: array("d"))
    """When each was sent, seconds since the epoch."""
    _places: list[dict[int, int]] = field(default_factory=list)

    def note(self, partition: int, offset: int, index: int) -> None:
        while len(self._places) <= partition:
            self._places.append({})
        self._places[partition][offset] = index

    def index(self, partition: int, record: RecordId) -> int:
        """The index of a record by its id; the messages hold one record each."""
        return self._places[partition][record if isinstance(record, int) else record[0]]


async def load(
    cluster: Cluster, topic: str, messages: Iterator[bytes], partitions: int, rate: float | None = None
) -> AsyncIterator[Sent]:
    """Sends the messages, `rate` a second, and yields what is confirmed so far, at the end for the last time."""
    sent = Sent()
    waiting = []
    settings = {} if rate else {"linger_ms": 5, "max_batch_size": 256 * 1024}
    async with cluster.producing(max_request_size=8 * 1024 * 1024, **settings) as producer:
        started = time.monotonic()
        for message in messages:
            index = sent.records
            if rate:
                await _pace(started + index / rate)
            sent.times.append(time.time())
            waiting.append((index, await producer.send(topic, message, partition=index % partitions)))
            sent.records += 1
            if len(waiting) >= CHUNK:
                await _confirm(sent, waiting)
                yield sent
        await _confirm(sent, waiting)
    yield sent


async def _confirm(sent: Sent, waiting: list[tuple[int, Any]]) -> None:
    for index, confirmation in waiting:
        message = await confirmation
        sent.note(message.partition, message.offset, index)
    waiting.clear()


async def _pace(due: float) -> None:
    wait = due - time.monotonic()
    if wait > 0:
        await asyncio.sleep(wait)
