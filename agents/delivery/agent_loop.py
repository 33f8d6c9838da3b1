"""The loop of all agents: take a message, handle it, and acknowledge it once everything it caused is confirmed."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from itertools import groupby
from typing import cast

from faust.streams import Stream
from faust.types import TP, EventT

from metroline.agents.delivery.acknowledgements import AckTracker
from metroline.agents.delivery.bus import Bus
from metroline.agents.kafka.fetch_buffers import MessageBatch
from metroline.agents.kafka.producer import Confirmation
from metroline.routing.addresses import ARRIVALS
from metroline.routing.errors import MalformedEnvelope, MetrolineError
from metroline.routing.journeys.dead_letters import is_malformed_message, malformed_message
from metroline.routing.messages.envelope import Envelope, join
from metroline.routing.outcome import Cause, Outcome

Handle = Callable[[Envelope], Awaitable[list[Confirmation]]]
"""Handles an envelope and returns the confirmations of everything that it sent."""

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Arrived:
    """An envelope and the message in which it arrived."""

    tp: TP
    offset: int
    value: bytes
    envelope: Envelope


class AgentLoop:
    """Runs the handlers of agents over streams. No message can make it raise: records become dead letters instead."""

    def __init__(self, bus: Bus, ready: Callable[[], Awaitable[None]], clock: Callable[[], float]) -> None:
        """`ready` returns once messages may be handled; `clock` returns seconds since the epoch."""
        self.bus = bus
        self.clock = clock
        self.is_draining = False
        """True if handlers should finish soon, since the worker is stopping or losing partitions."""
        self._ready = ready
        self._trackers: list[AckTracker] = []

    def drain(self, is_draining: bool) -> None:
        """Set whether handlers should finish their current work soon."""
        self.is_draining = is_draining

    def reset(self) -> None:
        """Discard all pending messages. Called when partitions are reassigned, as the messages are delivered again."""
        for tracker in self._trackers:
            tracker.reset()

    async def run(self, stream: Stream[bytes], handle: Handle) -> None:
        """Handle every envelope of the stream without waiting for the confirmations of the previous one."""
        tracker = AckTracker()
        self._trackers.append(tracker)
        await self._ready()
        async for event in stream.noack().events():
            pending = await tracker.track(event)
            if pending is not None:
                tracker.complete(pending, await self._handle_batch(event, handle))

    async def _handle_batch(self, event: EventT[bytes], handle: Handle) -> list[Confirmation]:
        """Handle the envelopes of a batch, joined as far as they have the same origin and strategy."""
        self.bus.metrics.tick()
        batch = cast(MessageBatch, event.message.value)
        arrived: list[_Arrived] = []
        confirmations: list[Confirmation] = []
        for offset, value in zip(batch.offsets, batch.values, strict=True):
            try:
                arrived.append(
                    _Arrived(event.message.tp, offset, value, Envelope.decode(value, event.message.partition))
                )
            except MalformedEnvelope as error:
                confirmations.append(await self._dead_letter_message(event.message.tp, offset, str(error), error.raw))
        for _, alike in groupby(arrived, key=lambda one: (one.envelope.strategy, one.envelope.origin)):
            confirmations += await self._handle_joined(list(alike), handle)
        return confirmations

    async def _handle_joined(self, arrived: list[_Arrived], handle: Handle) -> list[Confirmation]:
        """Handle envelopes as one; if that fails, each by itself, so that only the one at fault is given up."""
        if len(arrived) == 1:
            return await self._handle(arrived[0], handle)
        try:
            return await handle(join([one.envelope for one in arrived]))
        except Exception:
            log.debug("envelopes on %s could not be handled together", arrived[0].tp.topic, exc_info=True)
        return [confirmation for one in arrived for confirmation in await self._handle(one, handle)]

    async def _handle(self, arrived: _Arrived, handle: Handle) -> list[Confirmation]:
        try:
            return await handle(arrived.envelope)
        except MetrolineError as error:
            return await self._dead_letter(arrived, Outcome.dead(Cause.MALFORMED_ENVELOPE, str(error)))
        except Exception as error:  # a defect of Metroline: the records become dead letters, and the line continues
            log.exception("an envelope on %s could not be handled", arrived.tp.topic)
            return await self._dead_letter(
                arrived, Outcome.dead(Cause.INTERNAL_ERROR, f"{type(error).__name__}: {error}")
            )

    async def _dead_letter(self, arrived: _Arrived, outcome: Outcome) -> list[Confirmation]:
        """End the journeys of the records in an envelope.

        A message that the arrivals reject becomes a dead letter itself, since its outcomes cannot be settled.
        """
        if self.bus.topics.address(arrived.tp.topic) != ARRIVALS:
            return await self.bus.end(arrived.envelope, outcome)
        if is_malformed_message(arrived.envelope.origin):
            log.error("a malformed message on %s could not be settled: %s", arrived.tp.topic, outcome.reason)
            return []
        return [await self._dead_letter_message(arrived.tp, arrived.offset, outcome.reason or "", arrived.value)]

    async def _dead_letter_message(self, tp: TP, offset: int, reason: str, raw: bytes) -> Confirmation:
        address = self.bus.topics.address(tp.topic)
        letter = malformed_message(raw, address, tp.partition, offset, reason, self.clock())
        return await self.bus.send(ARRIVALS, letter)
