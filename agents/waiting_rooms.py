"""The waiting rooms (retry topics): keeps each message for the stay of its room and then sends it on."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.structs import ConsumerRecord

from metroline.agents.delivery.bus import Bus
from metroline.agents.delivery.unit_of_work import UnitOfWork, confirmed_unit
from metroline.agents.kafka.batch_consumer import IDLE_SECONDS, BatchConsumer
from metroline.agents.kafka.cluster import Cluster
from metroline.agents.kafka.producer import Confirmation
from metroline.routing.addresses import ARRIVALS, WAITING_ROOMS
from metroline.routing.errors import MalformedEnvelope
from metroline.routing.journeys.dead_letters import malformed_message
from metroline.routing.messages.envelope import Envelope


class WaitingRooms(BatchConsumer):
    """Sends each message on when it is due: to its stop or, if its wait is not over, to another waiting room."""

    most_records = 50

    def __init__(
        self, bus: Bus, cluster: Cluster, clock: Callable[[], float], *, settings: dict[str, Any], **kwargs: Any
    ) -> None:
        super().__init__(cluster, clock, settings=settings, **kwargs)
        self.bus = bus
        self.group = bus.topics.waiting_group
        self.read = [bus.topics.at(room) for room in WAITING_ROOMS]
        self._closed: dict[TopicPartition, float] = {}
        """Paused partitions, with the time at which their first message is due in seconds since the epoch."""
        self._heads: dict[TopicPartition, tuple[int, float]] = {}
        """For each partition, the offset of the message examined last and the time at which it is due."""

    def resume(self, consumer: AIOKafkaConsumer) -> float:
        """Resume the partitions whose next message is due; return the seconds until the next call."""
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
        """Send on the messages that are due; pause the partition at the first message that is not.

        Return the offset to commit and the confirmations before it.
        """
        stay = WAITING_ROOMS[self.bus.topics.address(partition.topic)]
        unit, confirmation = confirmed_unit(self.bus.work_time)
        for place, message in enumerate(messages):
            until = self._due(partition, message, stay)
            if until > self.clock():
                consumer.seek(partition, message.offset)
                consumer.pause(partition)
                self._closed[partition] = until
                unit.release()
                return message.offset, [confirmation] if place else []
            await self._send_on(partition, message, unit)
        unit.release()
        return messages[-1].offset + 1, [confirmation]

    def _due(self, partition: TopicPartition, message: ConsumerRecord, stay: float) -> float:
        """Return the time at which a message is due, in seconds since the epoch.

        It is at most one stay of the room from now, even if the clock of the sender is ahead.
        """
        offset, until = self._heads.get(partition, (-1, 0.0))
        if offset != message.offset:
            until = min(message.timestamp / 1_000, self.clock()) + stay
            self._heads[partition] = (message.offset, until)
        return until

    async def _send_on(self, partition: TopicPartition, message: ConsumerRecord, unit: UnitOfWork) -> None:
        raw, now = message.value or b"", self.clock()
        try:
            envelope = Envelope.decode(raw, partition.partition)
            if any(segment.attempts is None for segment in envelope.segments):
                raise MalformedEnvelope("not an envelope for a waiting room: it names no stop to return to", raw)
        except MalformedEnvelope as error:
            address = self.bus.topics.address(partition.topic)
            letter = malformed_message(raw, address, partition.partition, message.offset, str(error), now)
            await self.bus.send(ARRIVALS, letter, unit)
            return
        departures = self.bus.departures(envelope)
        for segment in envelope.segments:
            if segment.attempts is not None:
                departures.send_back(segment, segment.attempts.stop, segment.attempts.due - now)
        await self.bus.dispatch(departures, unit)
