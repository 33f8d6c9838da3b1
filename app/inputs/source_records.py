"""The records of a comparison: the user's own file or the line's, loaded into a source topic once."""

from __future__ import annotations

import asyncio
import time
from array import array
from collections.abc import AsyncIterator, Iterable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

import orjson

from metroline.agents.kafka.cluster import Cluster
from metroline.agents.services.line import Line
from metroline.app.inputs.row_files import UnreadableRecords, csv_rows, json_lines, opened, value_of
from metroline.routing.messages.record_ids import RecordId

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
    """What was sent: the index in the input of the first record at each confirmed (partition, offset)."""

    pack: int = 1
    """Records in a message; the last one may hold fewer."""
    records: int = 0
    times: array[float] = field(default_factory=lambda: array("d"))
    """When each was sent, seconds since the epoch."""
    _places: list[dict[int, int]] = field(default_factory=list)

    def note(self, partition: int, offset: int, index: int) -> None:
        while len(self._places) <= partition:
            self._places.append({})
        self._places[partition][offset] = index

    def index(self, partition: int, record: RecordId) -> int:
        """The index of a record by its id."""
        if isinstance(record, int):
            return self._places[partition][record]
        return self._places[partition][record[0]] + (record[1] if self.pack > 1 else 0)


def batched(records: Iterable[bytes], size: int) -> Iterator[list[bytes]]:
    """So many at a time, the last time what is left."""
    left = iter(records)
    while chunk := list(islice(left, size)):
        yield chunk


def packed(records: Iterable[bytes], pack: int) -> Iterator[tuple[bytes, int]]:
    """Source messages of `pack` records, one a line, each with the number of records in it."""
    for chunk in batched(records, pack):
        if pack > 1 and any(not record.strip() or b"\n" in record for record in chunk):
            raise UnreadableRecords("--pack: a record that is no line of its own cannot travel with others")
        yield b"\n".join(chunk), len(chunk)


async def load(
    cluster: Cluster,
    topic: str,
    records: Iterator[bytes],
    partitions: int,
    rate: float | None = None,
    pack: int = 1,
) -> AsyncIterator[Sent]:
    """Sends the records, `rate` a second and `pack` a message, and yields what is confirmed so far, at the end too."""
    sent = Sent(pack)
    waiting = []
    settings = {} if rate else {"linger_ms": 5, "max_batch_size": 256 * 1024}
    async with cluster.producer(max_request_size=8 * 1024 * 1024, **settings) as producer:
        started = time.monotonic()
        for number, (message, count) in enumerate(packed(records, pack)):
            index = sent.records
            if rate:
                await _pace(started + index / rate)
            sent.times.extend([time.time()] * count)
            waiting.append((index, await producer.send(topic, message, partition=number % partitions)))
            sent.records += count
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
