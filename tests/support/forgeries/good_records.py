"""Records that a test sends between forgeries, each of which must have its outcome once."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator
from random import Random

import orjson
from confluent_kafka import Message, Producer

from metroline.agents.kafka.topic_reader import read_topic
from metroline.agents.tables.outcomes import read_blocks
from metroline.routing.journeys.settlement import BLOCK_OFFSETS
from metroline.routing.messages.plain import ID_HEADER
from metroline.routing.outcome import Ending
from tests.support.depot import Depot, expected
from tests.support.forgeries.envelopes import forged_envelope
from tests.support.forgeries.forgery import dressed


class GoodRecords:
    """Sends numbered records to the source, between messages that are none, and finds out what became of them."""

    def __init__(self, depot: Depot, seed: int) -> None:
        self._depot = depot
        self._random = Random(seed)
        self._producer = Producer({"bootstrap.servers": depot.broker.bootstrap})
        self.sent: dict[tuple[int, int], int] = {}
        """The number of each record by the partition and the offset of its message."""
        self._next = 0

    def send(self, count: int) -> None:
        """Send records with odd keys, headers and times, and a forgery after every fifth."""
        for _ in range(count):
            number, self._next = self._next, self._next + 1
            self._write(orjson.dumps({"n": number}), number % self._depot.partitions, number)
            if number % 5 == 0:
                partition = self._random.randrange(self._depot.partitions)
                self._write(forged_envelope(self._random, partition).value, partition, None)
        assert self._producer.flush(60) == 0

    def _write(self, value: bytes | None, partition: int, number: int | None) -> None:
        message = dressed(self._random, value)

        def answered(error: object, written: Message) -> None:
            assert error is None, error
            if number is not None:
                self.sent[partition, written.offset() or 0] = number

        self._producer.produce(
            self._depot.topics.source,
            message.value,
            message.key,
            partition,
            on_delivery=answered,
            headers=list(message.headers),
            timestamp=message.timestamp,
        )
        self._producer.poll(0)

    async def open(self) -> set[tuple[int, int]]:
        """Return the records that have no outcome yet."""
        blocks = await read_blocks(self._depot.cluster, self._depot.topics)
        settled = {
            (partition, number * BLOCK_OFFSETS + place)
            for (partition, origin, number), block in blocks.items()
            if origin == "source"
            for place in block.whole
        }
        return self.sent.keys() - settled

    async def all_settled(self) -> bool:
        """Return whether all of them have an outcome."""
        return not await self.open()

    async def wrong(self) -> list[str]:
        """Return a line for each record that is not delivered as it must be."""
        found = Counter([id async for id in _delivered(self._depot)])
        lines = []
        for (partition, offset), number in self.sent.items():
            wanted = expected(number)[1] is Ending.DELIVERED
            copies = found[f"source-{partition}-{offset}"]
            if bool(copies) != wanted:
                lines.append(f"record {number} at source[{partition}]@{offset}: {copies} copies, wanted: {wanted}")
        return lines


async def _delivered(depot: Depot) -> AsyncIterator[str]:
    """Yield the ids of delivered records, without those of forgeries that have none."""
    async for message in read_topic(depot.cluster, depot.topics.delivered):
        value = dict(message.headers).get(ID_HEADER)
        if value is not None:
            yield value.decode(errors="replace")
