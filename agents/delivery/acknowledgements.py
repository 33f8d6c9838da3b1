"""Acknowledges messages in order, each after everything that was made from it is confirmed."""

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
    """A message that is not acknowledged yet."""

    event: EventT[bytes]
    open: int = 1
    """Confirmations that are still to come, and one more until all of them are known."""


class AckTracker:
    """Acknowledges messages in order, per topic and partition, and bounds how many are open.

    Faust commits past a message that is still open (`Consumer._new_offset`), so no message is acknowledged before those
    in front of it.
    """

    def __init__(self, limit: int = 32) -> None:
        self._limit = limit
        self._count = 0
        self._resets = 0
        self._queues: dict[TP, deque[PendingMessage]] = {}
        self._room = asyncio.Event()
        self._room.set()

    async def track(self, event: EventT[bytes]) -> PendingMessage | None:
        """Note a message as open; wait while too many are open.

        Return None where partitions changed hands meanwhile: the message comes again, after those that were open before
        it.
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
        """Acknowledge the message once all of these confirmations are in."""
        for confirmation in confirmations:
            pending.open += 1
            confirmation.add_done_callback(partial(self._confirmed, pending))
        self._close(pending)

    def _confirmed(self, pending: PendingMessage, confirmation: Confirmation) -> None:
        if confirmation.cancelled():
            return
        if confirmation.exception() is not None:  # left open: the message comes again
            log.error("a message of %s stays open", pending.event.message.topic, exc_info=confirmation.exception())
            return
        self._close(pending)

    def reset(self) -> None:
        """Forget every open message. Called when partitions change hands: all of them come again."""
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
