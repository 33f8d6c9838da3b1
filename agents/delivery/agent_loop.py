"""The one loop of all agents: take an envelope, handle it, send what was made, acknowledge once that is confirmed."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable

from faust.streams import Stream
from faust.types import EventT

from metroline.agents.delivery.bus import AckTracker, Bus, Confirmation
from metroline.agents.tables.live_rules import LiveRules
from metroline.routing.addresses import ARRIVALS
from metroline.routing.errors import MalformedEnvelope, MetrolineError
from metroline.routing.journeys.dead_letters import STRAY, malformed_message
from metroline.routing.messages.envelope import Envelope
from metroline.routing.outcome import Cause, Outcome

Handle = Callable[[Envelope], Awaitable[list[Confirmation]]]

log = logging.getLogger(__name__)


class AgentLoop:
    """Runs an agent's handler over a stream; no record can make it raise."""

    def __init__(self, bus: Bus, rule_tables: LiveRules, clock: Callable[[], float]) -> None:
        self.bus = bus
        self.rule_tables = rule_tables
        self.clock = clock
        self.is_draining = False
        """Whether packs shall be cut soon: partitions are taken away, or the worker stops."""
        self._trackers: list[AckTracker] = []

    def drain(self, is_draining: bool) -> None:
        self.is_draining = is_draining

    def forget(self) -> None:
        """Called when partitions change hands: what is at hand comes again, here or elsewhere."""
        for tracker in self._trackers:
            tracker.forget()

    async def run(self, stream: Stream[bytes], handle: Handle) -> None:
        """Handles every envelope of the stream, the next one while the last one's confirmations are under way."""
        tracker = AckTracker()
        self._trackers.append(tracker)
        await self.rule_tables.ready()
        async for event in stream.noack().events():
            pending = await tracker.take(event)
            if pending is not None:
                tracker.settle(pending, await self._handle(event, handle))

    async def _handle(self, event: EventT[bytes], handle: Handle) -> list[Confirmation]:
        self.bus.metrics.tick()
        try:
            envelope = Envelope.decode(event.message.value or b"", event.message.partition)
        except MalformedEnvelope as error:
            return [await self._bury_message(event, str(error), error.raw)]
        try:
            return await handle(envelope)
        except MetrolineError as error:
            return await self._bury(event, envelope, Outcome.dead(Cause.MALFORMED_ENVELOPE, str(error)))
        except Exception as error:  # a mistake of this program: the records become letters, the line goes on
            log.exception("an envelope on %s could not be handled", event.message.topic)
            outcome = Outcome.dead(Cause.INTERNAL_ERROR, f"{type(error).__name__}: {error}")
            return await self._bury(event, envelope, outcome)

    async def _bury(self, event: EventT[bytes], envelope: Envelope, outcome: Outcome) -> list[Confirmation]:
        """Ends the journeys of an envelope's records; one that the arrivals themselves refuse is a stray message."""
        if self.bus.topics.address(event.message.topic) != ARRIVALS:
            return await self.bus.end(envelope, outcome)
        if envelope.origin.name.startswith(STRAY):
            log.error("a stray message of %s could not be settled: %s", event.message.topic, outcome.reason)
            return []
        return [await self._bury_message(event, outcome.reason or "", event.message.value or b"")]

    async def _bury_message(self, event: EventT[bytes], reason: str, raw: bytes) -> Confirmation:
        message = event.message
        address = self.bus.topics.address(message.topic)
        return await self.bus.send(
            ARRIVALS, malformed_message(raw, address, message.partition, message.offset, reason, self.clock())
        )
