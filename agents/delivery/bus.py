"""The bus: sends envelopes to their topics until the brokers confirm them."""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from functools import partial

from metroline.agents.delivery.handling import Handle, outcome_of
from metroline.agents.delivery.metrics import WorkerMetrics
from metroline.agents.delivery.pacing import Pacer
from metroline.agents.delivery.shipping import JointShipment, Producer, Shipment, Shipping
from metroline.agents.delivery.through_trains import ThroughTrains
from metroline.agents.delivery.unit_of_work import Pack, UnitOfWork, WorkTime, confirmed_unit
from metroline.agents.kafka.producer import Confirmation, KeyedMessage, TooLarge
from metroline.agents.kafka.topics import Topics
from metroline.routing.addresses import ARRIVALS
from metroline.routing.journeys.dead_letters import too_large
from metroline.routing.journeys.departures import Departures, Limits
from metroline.routing.messages.envelope import Envelope, fitting, halves
from metroline.routing.messages.record_ids import SEVERAL
from metroline.routing.outcome import Cause, Outcome


class Bus:
    """Sends envelopes, each to the partition of its origin, and counts them."""

    def __init__(
        self,
        topics: Topics,
        limits: Callable[[], Limits],
        producer: Producer,
        metrics: WorkerMetrics,
        work_time: WorkTime,
    ) -> None:
        self.topics = topics
        self._limits = limits
        self.metrics = metrics
        self.work_time = work_time
        """The time that the worker's units of work may take."""
        self.trains = ThroughTrains()
        self.pacer = Pacer()
        """Shared by everything that handles records."""
        self._shipping = Shipping(producer)

    @property
    def limits(self) -> Limits:
        """The limits of envelopes; see `LineApp` for why they may be known only once the app starts."""
        return self._limits()

    @property
    def failing_topics(self) -> list[str]:
        """The topics that messages could not be written to at the last attempt, sorted."""
        return self._shipping.failing

    def departures(self, envelope: Envelope) -> Departures:
        """Return empty departures for the records of an envelope."""
        return Departures.of(envelope, self.limits)

    async def dispatch(self, departures: Departures, unit: UnitOfWork, fill: float = 1.0) -> None:
        """Pack the departures and hand them on in memory or send them, as a part of a unit of work.

        `fill` is the share of `pack_bytes` that an envelope may use. Records stay in the partition of their origin.
        What goes on in memory is handled before this returns, unless the unit is already under way: then whoever
        began with it goes on with these packs as well, so that a long journey needs no deep recursion.
        """
        packs: deque[Pack] = deque()
        stay_together = partial(self.trains.are_open, unit=unit)
        for address, envelope in departures.packs_onward(self.limits, fill, stay_together):
            handle = self.trains.handler(address, envelope, unit, self.limits.pack_bytes)
            if handle is None:
                await self.send(address, envelope, unit)
            else:
                packs.append((address, envelope.unwritten(), handle, self.trains.detours.changes))
        for address, envelope in departures.packs_back(self.limits):
            await self.send(address, envelope, unit)
        if unit.under_way is not None:
            unit.under_way.extend(packs)
        elif packs:
            await self._go_on(unit, packs)

    async def dispatch_by_bus(self, departures: Departures, unit: UnitOfWork) -> None:
        """Pack and send the departures, as a part of a unit of work."""
        for address, envelope in departures.packs(self.limits):
            await self.send(address, envelope, unit)

    async def _go_on(self, unit: UnitOfWork, packs: deque[Pack]) -> None:
        """Handle packs in memory, and those that come of them, until none is left."""
        unit.under_way = packs
        try:
            while packs:
                address, envelope, handle, changes = packs.popleft()
                if changes == self.trains.detours.changes:
                    await self._hand_on(address, envelope, handle, unit)
                else:  # the worker's partitions were revoked meanwhile
                    await self.send(address, envelope.written(), unit)
                await self.pacer.pause()
        finally:
            unit.under_way = None

    async def _hand_on(self, address: str, envelope: Envelope, handle: Handle, unit: UnitOfWork) -> None:
        self.metrics.handed_on(address, len(envelope))
        try:
            await handle(envelope, unit)
        except Exception as error:  # noqa: BLE001 - any error ends the records, and never the worker
            await self.end(envelope, outcome_of(error, address), unit)

    async def send(self, address: str, envelope: Envelope, unit: UnitOfWork) -> None:
        """Send an envelope, as a part of a unit of work.

        An envelope that does not fit into a message is split. A single record that does not fit becomes a dead letter.
        """
        if envelope.origin.partition == SEVERAL:
            for part in envelope.by_partition():
                await self.send(address, part, unit)
            return
        for part, value in fitting(envelope, self.limits.message_bytes):
            if len(value) > self.limits.message_bytes:
                await self._end_too_large(part, len(value), unit)
                continue
            self.metrics.sent(address, len(part), len(value))
            self.trains.detours.sent(address, part)
            fallback = partial(self._send_fallback, address, value, unit)
            await self._ship(address, part.origin.partition, value, unit, fallback)

    async def end(self, envelope: Envelope, outcome: Outcome, unit: UnitOfWork) -> None:
        """End the journeys of the records in an envelope with this outcome."""
        departures = self.departures(envelope)
        for segment in envelope.segments:
            departures.end(segment, outcome)
        await self.dispatch_by_bus(departures, unit)

    async def produce(self, topic: str, partition: int, value: bytes, *, key: bytes | None = None) -> Confirmation:
        """Send a message repeatedly until a broker confirms it; return its confirmation."""
        unit, confirmation = confirmed_unit(self.work_time)
        await self._shipping.ship(Shipment(topic, partition, key, value, unit))
        unit.release()
        return confirmation

    async def offer(self, topic: str, partition: int, value: bytes) -> None:
        """Send a message that nobody needs, once: it is left out if the brokers do not take it."""
        await self._shipping.offer(topic, partition, value)

    async def produce_all(self, topic: str, messages: Sequence[KeyedMessage]) -> Confirmation:
        """Send messages repeatedly until the brokers confirm all of them; return the confirmation."""
        unit, confirmation = confirmed_unit(self.work_time)
        await self._shipping.ship(JointShipment(topic, messages, unit))
        unit.release()
        return confirmation

    async def _ship(
        self,
        address: str,
        partition: int,
        value: bytes,
        unit: UnitOfWork,
        on_refused: Callable[[BaseException], Awaitable[None]] | None = None,
    ) -> None:
        topic, is_needed = self.topics.at(address), address == ARRIVALS
        await self._shipping.ship(Shipment(topic, partition, None, value, unit, on_refused, is_needed))

    async def _send_fallback(self, address: str, value: bytes, unit: UnitOfWork, error: BaseException) -> None:
        """Divide an envelope that is too large for the broker; end the records of one whose topic does not exist."""
        envelope = Envelope.decode(value)  # decoded again, as keeping every envelope for this rare case costs memory
        self.trains.detours.refused(address, envelope)
        if isinstance(error, TooLarge) and len(envelope) == 1:
            await self._end_too_large(envelope, len(value), unit)
            return
        if isinstance(error, TooLarge):
            for half in halves(envelope, self.limits.pack_bytes):
                await self.send(address, half, unit)
            return
        outcome = Outcome.dead(Cause.UNROUTABLE, f"there is no topic {self.topics.at(address)}: {error}")
        await self.end(envelope, outcome, unit)

    async def _end_too_large(self, envelope: Envelope, size: int, unit: UnitOfWork) -> None:
        """Send a single record that is too large for a message to the arrivals, as a dead letter."""
        letter = too_large(envelope, size, self.limits.message_bytes)
        await self._ship(ARRIVALS, envelope.origin.partition, letter.encode(), unit)
