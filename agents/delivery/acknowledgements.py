"""Acknowledges messages in order, each once everything that was made from it is confirmed."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import cast

from faust.types import EventT

from metroline.agents.delivery.unit_of_work import UnitOfWork, WorkTime
from metroline.agents.kafka.fetch_buffers import Batches

MAX_PENDING = 4_096
"""Batches of an agent that may be unacknowledged. Behind one slow record there may be many that are done."""

MAX_PENDING_BYTES = 8 * 1024 * 1024
"""Bytes of the messages of an agent that may be unacknowledged."""


def batches_of(event: EventT[bytes]) -> Batches:
    """Return the messages that an agent is handed with an event."""
    return cast(Batches, event.message.value)


def size_of(event: EventT[bytes]) -> int:
    """Return the bytes for which the messages of an event count."""
    return sum(batch.size for batch in batches_of(event))


class PendingMessage(UnitOfWork):
    """The work on messages that were handed over together and are not acknowledged yet."""

    __slots__ = ("_settle", "event", "partitions", "size")

    def __init__(self, event: EventT[bytes], time: WorkTime, settle: Callable[[PendingMessage], None]) -> None:
        """Begin to work on a message; `settle` is called once everything is confirmed."""
        super().__init__(time)
        self.event = event
        self.partitions = [batch.partition for batch in batches_of(event)]
        self.size = size_of(event)
        self._settle = settle

    def complete(self) -> None:
        """Have the message acknowledged."""
        self._settle(self)

    def __str__(self) -> str:
        topic = self.event.message.topic
        places = [(batch.partition, batch.offsets[0], batch.offsets[-1]) for batch in batches_of(self.event)]
        named = [f"{topic}[{partition}] at offsets {first} to {last}" for partition, first, last in places]
        return f"the messages of {', '.join(named)}"


class AckTracker:
    """Acknowledges the messages of each partition in order, and limits the pending messages.

    Faust may commit an offset beyond a message that is not acknowledged (`Consumer._new_offset`). A message is
    therefore acknowledged only after all messages before it.
    """

    def __init__(self, time: WorkTime, limit: int = MAX_PENDING, max_bytes: int = MAX_PENDING_BYTES) -> None:
        """Take the maximum number of pending messages, and of their bytes."""
        self._time = time
        self._limit = limit
        self._max_bytes = max_bytes
        self._count = self._bytes = 0
        self._resets = 0
        self._queues: dict[int, deque[PendingMessage]] = {}
        """The pending messages of each partition, in order."""
        self._room = asyncio.Event()

    async def track(self, event: EventT[bytes]) -> UnitOfWork | None:
        """Begin a unit of work for a message, waiting while too much is pending.

        Return None if partitions were reassigned meanwhile. The message is then delivered again, after the messages
        that were pending before it.
        """
        resets = self._resets
        while self._is_full(event):
            self._room.clear()
            await self._room.wait()
            if resets != self._resets:
                return None
        pending = PendingMessage(event, self._time, self._settle)
        self._count += 1
        self._bytes += pending.size
        for partition in pending.partitions:
            self._queues.setdefault(partition, deque()).append(pending)
        return pending

    def reset(self) -> None:
        """Discard all pending messages. Called when partitions are reassigned, as the messages are delivered again."""
        for queue in self._queues.values():
            for pending in queue:
                pending.discard()
        self._queues.clear()
        self._resets += 1
        self._count = self._bytes = 0
        self._room.set()

    def _is_full(self, event: EventT[bytes]) -> bool:
        if self._count >= self._limit:
            return True
        return self._count > 0 and self._bytes + size_of(event) > self._max_bytes

    def _settle(self, pending: PendingMessage) -> None:
        """Acknowledge the completed messages that are the first ones in all of their partitions."""
        if pending.is_discarded:
            return
        queues, partitions = self._queues, deque(pending.partitions)
        while partitions:
            queue = queues[partitions.popleft()]
            first = queue[0] if queue else None
            if first is None or not first.is_complete or any(queues[one][0] is not first for one in first.partitions):
                continue
            for partition in first.partitions:
                queues[partition].popleft()
            first.event.ack()
            self._count -= 1
            self._bytes -= first.size
            partitions.extend(first.partitions)
        self._room.set()
