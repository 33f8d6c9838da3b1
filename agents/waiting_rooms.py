"""The waiting rooms (retry topics): keeps each message for the stay of its room and then sends it on."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Collection, Mapping
from typing import Any

from aiokafka import TopicPartition
from confluent_kafka import Message

from metroline.agents.delivery.bus import Bus
from metroline.agents.delivery.unit_of_work import UnitOfWork, confirmed_unit
from metroline.agents.kafka.batch_consumer import IDLE_SECONDS, BatchConsumer, Handled
from metroline.agents.kafka.cluster import Cluster
from metroline.agents.kafka.consumer import Fetched
from metroline.agents.kafka.producer import Confirmation
from metroline.routing.addresses import ARRIVALS, WAITING_ROOMS
from metroline.routing.errors import MalformedEnvelope
from metroline.routing.journeys.dead_letters import malformed_message
from metroline.routing.journeys.requested_waits import rest_of_wait
from metroline.routing.messages.envelope import Envelope


class WaitingRooms(BatchConsumer):
    """Sends each message on when it is due: to its stop or, if its wait is not over, to another waiting room."""

    client_name = "waiting-rooms"

    def __init__(
        self, bus: Bus, cluster: Cluster, clock: Callable[[], float], *, settings: Mapping[str, Any], **kwargs: Any
    ) -> None:
        super().__init__(cluster, clock, settings=settings, **kwargs)
        self.bus = bus
        self.group = bus.topics.waiting_group
        self.read = [bus.topics.at(room) for room in WAITING_ROOMS]
        self._held: dict[TopicPartition, deque[Message]] = {}
        """The fetched messages of each partition whose first message is not due. No more of it are fetched."""
        self._due: dict[TopicPartition, float] = {}
        """The time at which each of these first messages is due, in seconds since the epoch."""

    def wait_seconds(self) -> float:
        """Return the seconds until the next message that is held is due, at most `IDLE_SECONDS`."""
        now = self.clock()
        return max(0.0, min([IDLE_SECONDS, *(due - now for due in self._due.values())]))

    def held_back(self) -> Fetched:
        now = self.clock()
        return {partition: [] for partition, due in self._due.items() if due <= now}

    def is_held_back(self, partition: TopicPartition) -> bool:
        """Return whether messages of a partition wait until they are due."""
        return partition in self._held

    def keeps(self, partition: TopicPartition) -> bool:
        """Return whether messages of a partition wait until they are due."""
        return partition in self._held

    def forget(self, partitions: Collection[TopicPartition]) -> None:
        super().forget(partitions)
        for partition in partitions:
            self._held.pop(partition, None)
            self._due.pop(partition, None)

    async def handle(self, fetched: Fetched) -> Handled:
        """Send on the messages that are due, in order; hold the others, and fetch no more of the partition meanwhile.

        Return what may be committed once it is confirmed.
        """
        handled = [(partition, await self._handle(partition, messages)) for partition, messages in fetched.items()]
        return {partition: sent for partition, sent in handled if sent is not None}

    async def _handle(self, partition: TopicPartition, messages: list[Message]) -> tuple[int, Confirmation] | None:
        stay = WAITING_ROOMS[self.bus.topics.address(partition.topic)]
        was_held = partition in self._held
        held = self._held.setdefault(partition, deque())
        held.extend(messages)
        unit, confirmation = confirmed_unit(self.bus.work_time)
        first = next_offset = held[0].offset() or 0
        while held and self._is_due(partition, held[0], stay):
            message = held.popleft()
            self._due.pop(partition, None)
            await self._send_on(partition, message, unit)
            next_offset = (message.offset() or 0) + 1
        unit.release()
        if not held:
            del self._held[partition]
        if was_held and not held:
            self.consumer.resume([partition])
        elif held and not was_held:
            self.consumer.pause([partition])
        return (next_offset, confirmation) if next_offset > first else None

    def _is_due(self, partition: TopicPartition, message: Message, stay: float) -> bool:
        """Return whether the first message of a partition may be sent on, and note when it may.

        It stays one stay of the room at most, even if the clock of the sender is ahead.
        """
        now = self.clock()
        due = self._due.setdefault(partition, min(message.timestamp()[1] / 1_000, now) + stay)
        return due <= now

    async def _send_on(self, partition: TopicPartition, message: Message, unit: UnitOfWork) -> None:
        raw, now = message.value() or b"", self.clock()
        try:
            envelope = Envelope.decode(raw, partition.partition)
            if any(segment.attempts is None for segment in envelope.segments):
                raise MalformedEnvelope("not an envelope for a waiting room: it names no stop to return to", raw)
        except MalformedEnvelope as error:
            address = self.bus.topics.address(partition.topic)
            letter = malformed_message(raw, address, partition.partition, message.offset() or 0, str(error), now)
            await self.bus.send(ARRIVALS, letter, unit)
            return
        departures = self.bus.departures(envelope)
        for segment in envelope.segments:
            if segment.attempts is not None:
                departures.send_back(segment, segment.attempts.stop, rest_of_wait(segment, now))
        await self.bus.dispatch_by_bus(departures, unit)
