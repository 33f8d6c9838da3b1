"""Acknowledges messages in order, each once everything that was sent because of it is confirmed."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial

from faust.types import TP, EventT

from metroline.agents.kafka.producer import Confirmation

log = logging.getLogger(__name__)


@dataclass(slots=True, eq=False)
class PendingMessage:
    """A message that is not yet acknowledged."""

    event: EventT[bytes]
    open: int = 1
    """Number of outstanding confirmations, plus one until all of them are known."""


class AckTracker:
    """Acknowledges the messages of each partition in order, and limits the number of pending messages.

    Faust may commit an offset beyond a message that is not acknowledged (`Consumer._new_offset`). A message is
    therefore acknowledged only after all messages before it.
    """

    def __init__(self, limit: int = 32) -> None:
        """`limit` is the maximum number of pending messages."""
        self._limit = limit
        self._count = 0
        self._resets = 0
        self._queues: dict[TP, deque[PendingMessage]] = {}
        self._room = asyncio.Event()
        self._room.set()

    async def track(self, event: EventT[bytes]) -> PendingMessage | None:
        """Add a pending message, waiting while there are too many.

        Return None if partitions were reassigned meanwhile. The message is then delivered again, after the messages
        that were pending before it.
        """
        resets = self._resets
        while self._count >= self._limit:
            self._room.clear()
            await self._room.wait()
            if resets != self._resets:
                return None
        self._count += 1
        pending = PendingMessage(event)
        self._queues.setdefault(event.message.tp, deque()).append(pending)
        return pending

    def complete(self, pending: PendingMessage, confirmations: Iterable[Confirmation]) -> None:
        """Acknowledge the message as soon as all these confirmations have arrived."""
        for confirmation in confirmations:
            pending.open += 1
            confirmation.add_done_callback(partial(self._confirmed, pending))
        self._close(pending)

    def _confirmed(self, pending: PendingMessage, confirmation: Confirmation) -> None:
        if confirmation.cancelled():
            return
        if confirmation.exception() is not None:  # not acknowledged, so that the message is delivered again
            message = pending.event.message
            log.error(
                "the message at offset %d of %s[%d] is not acknowledged and will be handled again",
                message.offset,
                message.topic,
                message.partition,
                exc_info=confirmation.exception(),
            )
            return
        self._close(pending)

    def reset(self) -> None:
        """Discard all pending messages. Called when partitions are reassigned, as the messages are delivered again."""
        self._queues.clear()
        self._resets += 1
        self._count = 0
        self._room.set()

    def _close(self, pending: PendingMessage) -> None:
        pending.open -= 1
        if pending.open:
            return
        queue = self._queues.get(pending.event.message.tp)
        while queue and not queue[0].open:
            queue.popleft().event.ack()
            self._count -= 1
        self._room.set()
