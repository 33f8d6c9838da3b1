"""The bus: sends envelopes to their topics until the brokers confirm them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial

from metroline.agents.delivery.metrics import WorkerMetrics
from metroline.agents.delivery.shipping import Producer, Shipment, Shipping
from metroline.agents.delivery.unit_of_work import UnitOfWork, WorkTime, confirmed_unit
from metroline.agents.kafka.producer import Confirmation, TooLarge
from metroline.agents.kafka.topics import Topics
from metroline.routing.addresses import ARRIVALS
from metroline.routing.journeys.dead_letters import too_large
from metroline.routing.journeys.departures import Departures, Limits
from metroline.routing.messages.envelope import Envelope, pack
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
        self._shipping = Shipping(producer)

    @property
    def limits(self) -> Limits:
        """The limits of envelopes; see `LineApp` for why they may be known only once the app starts."""
        return self._limits()

    def departures(self, envelope: Envelope) -> Departures:
        """Return empty departures for the records of an envelope."""
        return Departures.of(envelope, self.limits)

    async def dispatch(self, departures: Departures, unit: UnitOfWork, fill: float = 1.0) -> None:
        """Pack and send the departures, as a part of a unit of work.

        `fill` is the share of `pack_bytes` that an envelope may use. Records stay in the partition of their origin.
        """
        for address, envelope in departures.packs(self.limits, fill):
            await self.send(address, envelope, unit)

    async def send(self, address: str, envelope: Envelope, unit: UnitOfWork) -> None:
        """Send an envelope, as a part of a unit of work.

        An envelope that does not fit into a message is split. A single record that does not fit becomes a dead letter.
        """
        value = envelope.encode()
        if len(value) > self.limits.message_bytes:
            await self._divide(address, envelope, len(value), unit)
            return
        self.metrics.sent(address, len(envelope), len(value))
        fallback = partial(self._send_fallback, address, value, unit)
        await self._ship(address, envelope.origin.partition, value, unit, fallback)

    async def end(self, envelope: Envelope, outcome: Outcome, unit: UnitOfWork) -> None:
        """End the journeys of the records in an envelope with this outcome."""
        departures = self.departures(envelope)
        for segment in envelope.segments:
            departures.end(segment, outcome)
        await self.dispatch(departures, unit)

    async def produce(self, topic: str, partition: int, value: bytes, *, key: bytes | None = None) -> Confirmation:
        """Send a message repeatedly until a broker confirms it; return its confirmation."""
        unit, confirmation = confirmed_unit(self.work_time)
        await self._shipping.ship(Shipment(topic, partition, key, value, unit))
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
        if isinstance(error, TooLarge):
            await self._divide(address, envelope, len(value), unit)
            return
        outcome = Outcome.dead(Cause.UNROUTABLE, f"there is no topic {self.topics.at(address)}: {error}")
        await self.end(envelope, outcome, unit)

    async def _divide(self, address: str, envelope: Envelope, size: int, unit: UnitOfWork) -> None:
        """Send the halves of an envelope; send a single record that is too large to the arrivals as a dead letter."""
        if len(envelope) == 1:
            letter = too_large(envelope, size, self.limits.message_bytes)
            await self._ship(ARRIVALS, envelope.origin.partition, letter.encode(), unit)
            return
        half = (len(envelope) + 1) // 2
        for part in pack(envelope.strategy, envelope.origin, envelope.segments, self.limits.pack_bytes, half):
            await self.send(address, part, unit)
