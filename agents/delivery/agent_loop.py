"""The loop of all agents: take a message, handle it, and acknowledge it once everything it caused is confirmed."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable

from faust.streams import Stream
from faust.types import EventT

from metroline.agents.delivery.acknowledgements import AckTracker
from metroline.agents.delivery.bus import Bus
from metroline.agents.kafka.producer import Confirmation
from metroline.routing.addresses import ARRIVALS
from metroline.routing.errors import MalformedEnvelope, MetrolineError
from metroline.routing.journeys.dead_letters import is_malformed_message, malformed_message
from metroline.routing.messages.envelope import Envelope
from metroline.routing.outcome import Cause, Outcome

Handle = Callable[[Envelope], Awaitable[list[Confirmation]]]
"""Handles an envelope and returns the confirmations of everything that it sent."""

log = logging.getLogger(__name__)


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
                tracker.complete(pending, await self._handle(event, handle))

    async def _handle(self, event: EventT[bytes], handle: Handle) -> list[Confirmation]:
        self.bus.metrics.tick()
        try:
            envelope = Envelope.decode(event.message.value or b"", event.message.partition)
        except MalformedEnvelope as error:
            return [await self._dead_letter_message(event, str(error), error.raw)]
        try:
            return await handle(envelope)
        except MetrolineError as error:
            return await self._dead_letter(event, envelope, Outcome.dead(Cause.MALFORMED_ENVELOPE, str(error)))
        except Exception as error:  # a defect of Metroline: the records become dead letters, and the line continues
            log.exception("an envelope on %s could not be handled", event.message.topic)
            outcome = Outcome.dead(Cause.INTERNAL_ERROR, f"{type(error).__name__}: {error}")
            return await self._dead_letter(event, envelope, outcome)

    async def _dead_letter(self, event: EventT[bytes], envelope: Envelope, outcome: Outcome) -> list[Confirmation]:
        """End the journeys of the records in an envelope.

        A message that the arrivals reject becomes a dead letter itself, since its outcomes cannot be settled.
        """
        if self.bus.topics.address(event.message.topic) != ARRIVALS:
            return await self.bus.end(envelope, outcome)
        if is_malformed_message(envelope.origin):
            log.error("a malformed message on %s could not be settled: %s", event.message.topic, outcome.reason)
            return []
        return [await self._dead_letter_message(event, outcome.reason or "", event.message.value or b"")]

    async def _dead_letter_message(self, event: EventT[bytes], reason: str, raw: bytes) -> Confirmation:
        message = event.message
        address = self.bus.topics.address(message.topic)
        letter = malformed_message(raw, address, message.partition, message.offset, reason, self.clock())
        return await self.bus.send(ARRIVALS, letter)
