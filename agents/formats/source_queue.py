"""Source messages that are not JSON: read, or held in their order until the schema registry answers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import chain

from aiokafka import TopicPartition
from confluent_kafka import Message

from metroline.agents.formats.codec import Decoded, Decoder, SchemaPending
from metroline.agents.kafka.positions import oldest_of

RETRY_SECONDS = 0.2
"""Time after which held messages are looked at again. Meanwhile the registry is asked in the background."""

Entering = tuple[list[Message], Decoded]
"""Messages, and what was read of them."""


class SourceQueue:
    """Reads the messages of a source. Where a schema is not known yet, the partition waits, and no other."""

    def __init__(self, decoder: Decoder) -> None:
        self._decoder = decoder
        self._held: dict[TopicPartition, list[Message]] = {}
        self._due: dict[TopicPartition, float] = {}

    @property
    def held(self) -> frozenset[TopicPartition]:
        """The partitions of which messages wait."""
        return frozenset(self._held)

    @property
    def oldest(self) -> float | None:
        """Timestamp of the oldest message that waits, in seconds since the epoch; None if none waits."""
        return oldest_of(chain.from_iterable(self._held.values()))

    def due(self, now: float) -> dict[TopicPartition, list[Message]]:
        """Return the partitions to look at again at `now`, in seconds since the epoch, without new messages."""
        return {partition: [] for partition, due in self._due.items() if due <= now}

    async def take(
        self, fetched: Mapping[TopicPartition, Sequence[Message]], now: float
    ) -> dict[TopicPartition, Entering]:
        """Read messages, with those of the same partitions that were held; return what can enter the line."""
        entering: dict[TopicPartition, Entering] = {}
        for partition, messages in fetched.items():
            waiting = [*self._held.get(partition, ()), *messages]
            try:
                decoded = await self._decoder.decode([message.value() for message in waiting])
            except SchemaPending:
                self._held[partition], self._due[partition] = waiting, now + RETRY_SECONDS
                continue
            self.forget(partition)
            if waiting:
                entering[partition] = waiting, decoded
        return entering

    def forget(self, partition: TopicPartition) -> None:
        """Hold no messages of a partition any more."""
        self._held.pop(partition, None)
        self._due.pop(partition, None)


def joined(parts: Sequence[Decoded]) -> Decoded:
    """Return what was read of the messages of several partitions, in order."""
    if len(parts) == 1:
        return parts[0]
    values: list[bytes | None] = []
    problems: dict[int, str] = {}
    schemas: list[str | None] = []
    for one in parts:
        problems |= {len(values) + place: problem for place, problem in one.problems.items()}
        values += one.values
        schemas += one.schemas or [None] * len(one.values)
    return Decoded(values, problems, tuple(schemas) if any(schemas) else None)
