"""The bus: sends envelopes to their topics until the brokers confirm them."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass
from functools import partial
from typing import Protocol

from metroline.agents.delivery.metrics import WorkerMetrics
from metroline.agents.kafka.producer import Confirmation, NoTopic, TooLarge, all_of
from metroline.agents.kafka.topics import Topics
from metroline.routing.addresses import ARRIVALS
from metroline.routing.journeys.dead_letters import too_large
from metroline.routing.journeys.departures import Departures, Limits
from metroline.routing.messages.envelope import Envelope, pack
from metroline.routing.outcome import Cause, Outcome

FIRST_WAIT_SECONDS, MAX_WAIT_SECONDS = 0.1, 5.0
"""First and longest wait between two attempts to send a message. The wait doubles with each attempt."""

NO_TOPIC_ATTEMPTS = 3
"""Failed attempts after which a missing topic is given up. The producer itself waits for the topic at each attempt."""

Fallback = Callable[[BaseException], Awaitable[Confirmation]]
"""Sends something else in place of a message that cannot be sent; receives the error."""

log = logging.getLogger(__name__)


class Producer(Protocol):
    """The part of a producer that the bus uses."""

    async def send(self, topic: str, key: bytes | None, value: bytes, partition: int) -> Confirmation: ...


@dataclass(slots=True)
class _Shipment:
    topic: str
    partition: int
    key: bytes | None
    value: bytes
    confirmation: Confirmation
    on_refused: Fallback | None
    attempts: int = 0


class Bus:
    """Sends messages, each to a given partition and repeatedly until a broker confirms it, and counts them."""

    def __init__(
        self, topics: Topics, limits: Callable[[], Limits], producer: Producer, metrics: WorkerMetrics
    ) -> None:
        self.topics = topics
        self._limits = limits
        self.metrics = metrics
        self._producer = producer
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def limits(self) -> Limits:
        """The limits of envelopes; see `LineApp` for why they may be known only once the app starts."""
        return self._limits()

    def departures(self, envelope: Envelope) -> Departures:
        """Return empty departures for the records of an envelope."""
        return Departures.of(envelope, self.limits)

    async def dispatch(self, departures: Departures, fill: float = 1.0) -> list[Confirmation]:
        """Pack and send the departures; return the confirmations of all envelopes.

        `fill` is the share of `pack_bytes` that an envelope may use. Records stay in the partition of their origin.
        """
        return [await self.send(address, envelope) for address, envelope in departures.packs(self.limits, fill)]

    async def send(self, address: str, envelope: Envelope) -> Confirmation:
        """Send an envelope; return its confirmation.

        An envelope that does not fit into a message is split. A single record that does not fit becomes a dead letter.
        """
        value = envelope.encode()
        if len(value) > self.limits.message_bytes:
            return await self._divide(address, envelope, len(value))
        self.metrics.sent(address, len(envelope), len(value))
        fallback = partial(self._send_fallback, address, value)
        return await self.produce(self.topics.at(address), envelope.origin.partition, value, on_refused=fallback)

    async def end(self, envelope: Envelope, outcome: Outcome) -> list[Confirmation]:
        """End the journeys of the records in an envelope with this outcome; return the confirmations."""
        departures = self.departures(envelope)
        for segment in envelope.segments:
            departures.end(segment, outcome)
        return await self.dispatch(departures)

    async def _send_fallback(self, address: str, value: bytes, error: BaseException) -> Confirmation:
        """Divide an envelope that is too large for the broker; end the records of one whose topic does not exist."""
        envelope = Envelope.decode(value)  # decoded again, as keeping every envelope for this rare case costs memory
        if isinstance(error, TooLarge):
            return await self._divide(address, envelope, len(value))
        outcome = Outcome.dead(Cause.UNROUTABLE, f"there is no topic {self.topics.at(address)}: {error}")
        return asyncio.create_task(all_of(await self.end(envelope, outcome)))

    async def _divide(self, address: str, envelope: Envelope, size: int) -> Confirmation:
        """Send the halves of an envelope; send a single record that is too large to the arrivals as a dead letter."""
        if len(envelope) == 1:
            letter = too_large(envelope, size, self.limits.message_bytes)
            return await self.produce(self.topics.at(ARRIVALS), envelope.origin.partition, letter.encode())
        half = (len(envelope) + 1) // 2
        parts = pack(envelope.strategy, envelope.origin, envelope.segments, self.limits.pack_bytes, half)
        return asyncio.create_task(all_of([await self.send(address, part) for part in parts]))

    async def produce(
        self,
        topic: str,
        partition: int,
        value: bytes,
        *,
        key: bytes | None = None,
        on_refused: Fallback | None = None,
    ) -> Confirmation:
        """Send a message repeatedly until a broker confirms it; return its confirmation.

        If `on_refused` is given, it is called instead of another attempt once an error is permanent.
        """
        confirmation: Confirmation = asyncio.get_running_loop().create_future()
        await self._attempt(_Shipment(topic, partition, key, value, confirmation, on_refused))
        return confirmation

    async def _attempt(self, shipment: _Shipment) -> None:
        sent = await self._producer.send(shipment.topic, shipment.key, shipment.value, shipment.partition)
        sent.add_done_callback(partial(self._answered, shipment))

    def _answered(self, shipment: _Shipment, answer: asyncio.Future[None]) -> None:
        if answer.cancelled():
            shipment.confirmation.cancel()
            return
        error = answer.exception()
        if error is not None:
            self._failed(shipment, error)
        elif not shipment.confirmation.done():
            shipment.confirmation.set_result(None)

    def _failed(self, shipment: _Shipment, error: BaseException) -> None:
        if shipment.on_refused is not None and self._is_refused_for_good(shipment, error):
            self._spawn(self._replace(shipment, shipment.on_refused(error)))
            return
        shipment.attempts += 1
        wait = min(FIRST_WAIT_SECONDS * 2 ** (shipment.attempts - 1), MAX_WAIT_SECONDS)
        log.warning(
            "a message was not written to %s (%s); attempt %d follows in %.1f s",
            shipment.topic,
            error,
            shipment.attempts + 1,
            wait,
        )
        self._spawn(self._attempt_later(shipment, wait))

    def _is_refused_for_good(self, shipment: _Shipment, error: BaseException) -> bool:
        """Return whether an error is permanent; a missing topic of the arrivals never is, as all outcomes need it."""
        if isinstance(error, NoTopic):
            return shipment.attempts >= NO_TOPIC_ATTEMPTS and shipment.topic != self.topics.at(ARRIVALS)
        return isinstance(error, TooLarge)

    async def _attempt_later(self, shipment: _Shipment, wait: float) -> None:
        await asyncio.sleep(wait)
        await self._attempt(shipment)

    async def _replace(self, shipment: _Shipment, fallback: Awaitable[Confirmation]) -> None:
        await (await fallback)
        if not shipment.confirmation.done():
            shipment.confirmation.set_result(None)

    def _spawn(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
