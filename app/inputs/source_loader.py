"""Loads records into a source topic, and remembers which record went where."""

from __future__ import annotations

import asyncio
import time
from array import array
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

from aiokafka.errors import KafkaError

from metroline.agents.kafka.cluster import Cluster
from metroline.app.inputs.source_records import packed
from metroline.routing.errors import MetrolineError
from metroline.routing.messages.record_ids import RecordId

MAX_UNCONFIRMED = 2_000
"""Messages that may be unconfirmed while the source is loaded."""
REPORT_SECONDS = 1.0
"""Time between two reports of a load with a rate."""
MAX_REQUEST_BYTES = 8 * 1024 * 1024
THROUGHPUT = {"linger_ms": 5, "max_batch_size": 256 * 1024}
"""Producer settings for a load without a rate."""


class NotWritten(MetrolineError):
    """Raised when the brokers do not confirm records that were sent to them."""


@dataclass(slots=True)
class Sent:
    """The records that were sent: the index in the input of the first record at each (partition, offset)."""

    pack: int = 1
    """Records in a message; the last one may hold fewer."""
    records: int = 0
    times: array[float] = field(default_factory=lambda: array("d"))
    """When each record was sent, in seconds since the epoch."""
    _places: list[dict[int, int]] = field(default_factory=list)

    def note(self, partition: int, offset: int, index: int) -> None:
        """Remember where the message begins that holds the record of this index first."""
        while len(self._places) <= partition:
            self._places.append({})
        self._places[partition][offset] = index

    def index(self, partition: int, record: RecordId) -> int:
        """Return the index in the input of a record by its id."""
        if isinstance(record, int):
            return self._places[partition][record]
        return self._places[partition][record[0]] + (record[1] if self.pack > 1 else 0)


async def load(
    cluster: Cluster,
    topic: str,
    records: Iterator[bytes],
    partitions: int,
    rate: float | None = None,
    pack: int = 1,
    attributes: Sequence[Mapping[str, Any]] = (),
    linger: float = 0.0,
) -> AsyncIterator[Sent]:
    """Send the records, `rate` per second and `pack` in a message; without a rate, as fast as possible.

    `attributes` are the key, headers and timestamp of each message, as parameters of aiokafka's producer; without any,
    messages have none. At a rate, messages wait up to `linger` seconds for others to be written with them.
    Yield the confirmed records now and then, and at the end.
    """
    sent = Sent(pack)
    waiting: list[tuple[int, Any]] = []
    settings = {"linger_ms": round(linger * 1000)} if rate else THROUGHPUT
    async with cluster.producer(max_request_size=MAX_REQUEST_BYTES, **settings) as producer:
        started = reported = time.monotonic()
        try:
            for number, (message, count) in enumerate(packed(records, pack)):
                index = sent.records
                if rate:
                    await _pace(started + index / rate)
                sent.times.extend([time.time()] * count)
                more = attributes[number] if attributes else {}
                waiting.append((index, await producer.send(topic, message, partition=number % partitions, **more)))
                sent.records += count
                if len(waiting) >= MAX_UNCONFIRMED or (rate and time.monotonic() - reported > REPORT_SECONDS):
                    await _confirm(sent, waiting)
                    yield sent
                    reported = time.monotonic()
            await _confirm(sent, waiting)
        except KafkaError as error:
            raise await _interrupted(sent, topic, waiting, error) from error
    yield sent


async def _confirm(sent: Sent, waiting: list[tuple[int, Any]]) -> None:
    for index, confirmation in waiting:
        message = await confirmation
        sent.note(message.partition, message.offset, index)
    waiting.clear()


async def _interrupted(sent: Sent, topic: str, waiting: list[tuple[int, Any]], error: KafkaError) -> NotWritten:
    """Return the error that says how many records are written, once it is known of each that was sent."""
    answers = await asyncio.gather(*(confirmation for _, confirmation in waiting), return_exceptions=True)
    indexes = [*(index for index, _ in waiting), sent.records]
    counts = [end - begin for begin, end in pairwise(indexes)]
    unknown = sum(count for count, answer in zip(counts, answers, strict=True) if isinstance(answer, BaseException))
    written = sent.records - unknown
    return NotWritten(
        f"the brokers did not take all records ({error}): {written:,} records are written to {topic}, and "
        f"{unknown:,} more may be"
    )


async def _pace(due: float) -> None:
    wait = due - time.monotonic()
    if wait > 0:
        await asyncio.sleep(wait)
