"""Acknowledges messages in order, each once everything that was made from it is confirmed."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import cast

from faust.types import TP, EventT

from metroline.agents.delivery.unit_of_work import UnitOfWork, WorkTime
from metroline.agents.kafka.fetch_buffers import MessageBatch

MAX_PENDING = 4_096
"""Batches of an agent that may be unacknowledged. Behind one slow record there may be many that are done."""

MAX_PENDING_BYTES = 8 * 1024 * 1024
"""Bytes of the messages of an agent that may be unacknowledged."""


def _batch(event: EventT[bytes]) -> MessageBatch:
    return cast(MessageBatch, event.message.value)


class PendingMessage(UnitOfWork):
    """The work on a message, or on a batch of consecutive ones, that is not yet acknowledged."""

    __slots__ = ("_settle", "event", "size")

    def __init__(self, event: EventT[bytes], time: WorkTime, settle: Callable[[PendingMessage], None]) -> None:
        """Begin to work on a message; `settle` is called once everything is confirmed."""
        super().__init__(time)
        self.event = event
        self.size = _batch(event).size
        self._settle = settle

    def complete(self) -> None:
        """Have the message acknowledged."""
        self._settle(self)

    def __str__(self) -> str:
        tp, (first, *_, last) = self.event.message.tp, (*_batch(self.event).offsets, self.event.message.offset)
        offsets = f"message at offset {first}" if first == last else f"messages at offsets {first} to {last}"
        return f"the {offsets} of {tp.topic}[{tp.partition}]"


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
        self._queues: dict[TP, deque[PendingMessage]] = {}
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
        queue = self._queues.get(event.message.tp)
        if queue is None:
            queue = self._queues[event.message.tp] = deque()
        queue.append(pending)
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
        return self._count > 0 and self._bytes + _batch(event).size > self._max_bytes

    def _settle(self, pending: PendingMessage) -> None:
        """Acknowledge the completed messages at the head of a partition."""
        if pending.is_discarded:
            return
        queue = self._queues[pending.event.message.tp]
        while queue and queue[0].is_complete:
            acknowledged = queue.popleft()
            acknowledged.event.ack()
            self._count -= 1
            self._bytes -= acknowledged.size
        self._room.set()
