"""The waiting rooms: read by a consumer that lets each message stay for its room's time and then sends it on."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.structs import ConsumerRecord

from metroline.agents.delivery.bus import Bus
from metroline.agents.kafka.batch_consumer import IDLE_SECONDS, BatchConsumer
from metroline.agents.kafka.cluster import Cluster
from metroline.agents.kafka.producer import Confirmation
from metroline.routing.addresses import ARRIVALS, WAITING_ROOMS
from metroline.routing.errors import MalformedEnvelope
from metroline.routing.journeys.dead_letters import malformed_message
from metroline.routing.messages.envelope import Envelope


class WaitingRooms(BatchConsumer):
    """Sends each message on once it is due: to its stop or, for the rest of a long wait, to another room."""

    most_records = 50

    def __init__(
        self, bus: Bus, cluster: Cluster, clock: Callable[[], float], *, settings: dict[str, Any], **kwargs: Any
    ) -> None:
        super().__init__(cluster, clock, settings=settings, **kwargs)
        self.bus = bus
        self.group = bus.topics.waiting_group
        self.read = [bus.topics.at(room) for room in WAITING_ROOMS]
        self._closed: dict[TopicPartition, float] = {}
        """Partitions that are paused until the message at their head is due."""
        self._heads: dict[TopicPartition, tuple[int, float]] = {}
        """Per partition the offset of the message that was looked at last, and when it is due."""

    def resume(self, consumer: AIOKafkaConsumer) -> float:
        """Opens the partitions whose next message is due."""
        now = self.clock()
        due = [partition for partition, until in self._closed.items() if until <= now]
        for partition in due:
            del self._closed[partition]
            if partition in self.progress:
                consumer.resume(partition)
        return max(0.0, min([IDLE_SECONDS, *(until - now for until in self._closed.values())]))

    async def release(self, consumer: AIOKafkaConsumer) -> None:
        await super().release(consumer)
        self._closed.clear()
        self._heads.clear()

    async def handle(
        self, consumer: AIOKafkaConsumer, partition: TopicPartition, messages: list[ConsumerRecord]
    ) -> tuple[int, list[Confirmation]]:
        """Sends on what is due; closes the partition before the first message that is not."""
        stay = WAITING_ROOMS[self.bus.topics.address(partition.topic)]
        confirmations: list[Confirmation] = []
        for message in messages:
            until = self._due(partition, message, stay)
            if until > self.clock():
                consumer.seek(partition, message.offset)
                consumer.pause(partition)
                self._closed[partition] = until
                return message.offset, confirmations
            confirmations += await self._send_on(partition, message)
        return messages[-1].offset + 1, confirmations

    def _due(self, partition: TopicPartition, message: ConsumerRecord, stay: float) -> float:
        """When a message is due: at its room's time from now at the latest, however far ahead its sender's clock is."""
        offset, until = self._heads.get(partition, (-1, 0.0))
        if offset != message.offset:
            until = min(message.timestamp / 1_000, self.clock()) + stay
            self._heads[partition] = (message.offset, until)
        return until

    async def _send_on(self, partition: TopicPartition, message: ConsumerRecord) -> list[Confirmation]:
        raw, now = message.value or b"", self.clock()
        try:
            envelope = Envelope.decode(raw, partition.partition)
            if any(segment.attempts is None for segment in envelope.segments):
                raise MalformedEnvelope("no envelope that waits: nobody says for what", raw)
        except MalformedEnvelope as error:
            address = self.bus.topics.address(partition.topic)
            letter = malformed_message(raw, address, partition.partition, message.offset, str(error), now)
            return [await self.bus.send(ARRIVALS, letter)]
        departures = self.bus.departures(envelope)
        for segment in envelope.segments:
            if segment.attempts is not None:
                departures.send_back(segment, segment.attempts.stop, segment.attempts.due - now)
        return await self.bus.dispatch(departures)
