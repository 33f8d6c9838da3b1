"""The loop of all agents: take a message, handle it, and acknowledge it once everything it caused is confirmed."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from itertools import groupby

from faust.streams import Stream
from faust.types import TP, EventT
from msgspec import Struct

from metroline.agents.delivery.acknowledgements import AckTracker, batches_of
from metroline.agents.delivery.bus import Bus
from metroline.agents.delivery.handling import Handle, outcome_of
from metroline.agents.delivery.unit_of_work import UnitOfWork
from metroline.agents.delivery.work_in_hand import WorkInHand
from metroline.routing.addresses import ARRIVALS
from metroline.routing.errors import MalformedEnvelope
from metroline.routing.journeys.dead_letters import is_malformed_message, malformed_message
from metroline.routing.messages.envelope import Envelope, join
from metroline.routing.outcome import Outcome

log = logging.getLogger(__name__)


class _Arrived(Struct, frozen=True):
    """An envelope and the message in which it arrived."""

    tp: TP
    offset: int
    value: bytes
    envelope: Envelope


class AgentLoop:
    """Runs the handlers of agents over streams. No message can make it raise: records become dead letters instead."""

    def __init__(self, bus: Bus, ready: Callable[[], Awaitable[None]]) -> None:
        """`ready` returns once messages may be handled."""
        self.bus = bus
        self.clock = bus.work_time.clock
        """Returns seconds since the epoch."""
        self.work = WorkInHand(self.clock)
        self.finishing: list[Callable[[float], Awaitable[None]]] = []
        """Each waits until what it keeps in memory is written, but at most for some seconds."""
        self._ready = ready
        self._trackers: list[AckTracker] = []

    def drain(self, is_draining: bool) -> None:
        """Set whether handlers should finish their current work soon. Then nothing more goes on in memory."""
        self.bus.work_time.is_draining = is_draining
        if is_draining:
            self.bus.trains.detours.revoke()

    async def finish(self, seconds: float) -> None:
        """Return once what agents keep in memory is written, or after about `seconds`."""
        for finish in self.finishing:
            await finish(seconds)

    def reset(self) -> None:
        """Discard all pending messages. Called when partitions are reassigned, as the messages are delivered again."""
        for tracker in self._trackers:
            tracker.reset()
        self.work.reset()

    @contextmanager
    def tracking(self) -> Iterator[AckTracker]:
        """Yield a tracker for the messages of an agent, which is reset when partitions are reassigned."""
        tracker = AckTracker(self.bus.work_time)
        self._trackers.append(tracker)
        try:
            yield tracker
        finally:
            self._trackers.remove(tracker)

    async def run(self, stream: Stream[bytes], handle: Handle, cancel: Callable[[], None] | None = None) -> None:
        """Handle every envelope of the stream without waiting for what the previous one caused.

        `cancel` is called when the stream ends, to cancel what the handler left for later.
        """
        try:
            with self.tracking() as tracker:
                await self._ready()
                async for event in stream.noack().events():
                    self.work.waited(event.message.topic, event.message.timestamp)
                    unit = await tracker.track(event)
                    if unit is not None:
                        await self._handle_batch(event, handle, unit)
                        unit.release()
                    self.work.done(event.message.topic)
                    del event, unit  # an agent that rests holds no message
        finally:
            self.bus.trains.detours.revoke()  # nothing goes on in memory to an agent that has ended
            if cancel is not None:
                cancel()

    async def _handle_batch(self, event: EventT[bytes], handle: Handle, unit: UnitOfWork) -> None:
        """Handle the envelopes of a batch, joined as far as they have the same strategy and name of the origin."""
        self.bus.metrics.tick()
        topic, batches = event.message.topic, batches_of(event)
        arrived: list[_Arrived] = []
        for batch in batches:
            tp = TP(topic, batch.partition)
            for offset, value in zip(batch.offsets, batch.values, strict=True):
                try:
                    arrived.append(_Arrived(tp, offset, value, Envelope.decode(value, tp.partition)))
                except MalformedEnvelope as error:
                    await self._dead_letter_message(tp, offset, str(error), error.raw, unit)
        for _, alike in groupby(arrived, key=lambda one: (one.envelope.strategy, one.envelope.origin.name)):
            await self._handle_joined(list(alike), handle, unit)
        if not unit.is_discarded:  # otherwise the partitions were assigned again, and the messages come again
            envelopes: dict[int, list[Envelope]] = {batch.partition: [] for batch in batches}
            for one in arrived:
                envelopes[one.tp.partition].append(one.envelope)
            for batch in batches:
                place = (self.bus.topics.address(topic), batch.partition)
                self.bus.trains.detours.handled(place, batch.offsets[-1] + 1, envelopes[batch.partition])

    async def _handle_joined(self, arrived: list[_Arrived], handle: Handle, unit: UnitOfWork) -> None:
        """Handle envelopes as one; if that fails, each by itself, so that only the one at fault is given up."""
        if len(arrived) > 1:
            try:
                await handle(join([one.envelope for one in arrived]), unit)
                return
            except Exception:
                log.debug("envelopes on %s could not be handled together", arrived[0].tp.topic, exc_info=True)
        for one in arrived:
            await self._handle(one, handle, unit)

    async def _handle(self, arrived: _Arrived, handle: Handle, unit: UnitOfWork) -> None:
        try:
            await handle(arrived.envelope, unit)
        except Exception as error:  # noqa: BLE001 - any error ends the records, and never the agent
            await self._dead_letter(arrived, outcome_of(error, arrived.tp.topic), unit)

    async def _dead_letter(self, arrived: _Arrived, outcome: Outcome, unit: UnitOfWork) -> None:
        """End the journeys of the records in an envelope.

        A message that the arrivals reject becomes a dead letter itself, since its outcomes cannot be settled.
        """
        if self.bus.topics.address(arrived.tp.topic) != ARRIVALS:
            await self.bus.end(arrived.envelope, outcome, unit)
        elif is_malformed_message(arrived.envelope.origin):
            log.error("a malformed message on %s could not be settled: %s", arrived.tp.topic, outcome.reason)
        else:
            await self._dead_letter_message(arrived.tp, arrived.offset, outcome.reason or "", arrived.value, unit)

    async def _dead_letter_message(self, tp: TP, offset: int, reason: str, raw: bytes, unit: UnitOfWork) -> None:
        address = self.bus.topics.address(tp.topic)
        letter = malformed_message(raw, address, tp.partition, offset, reason, self.clock())
        await self.bus.send(ARRIVALS, letter, unit)
