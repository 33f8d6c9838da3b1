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

FIRST_WAIT, LONGEST_WAIT = 0.1, 5.0
"""First and longest wait between two attempts to send a message, in seconds."""

NO_TOPIC_ATTEMPTS = 3
"""Attempts after which a missing topic counts as missing for good; the producer waits for it at each of them, too."""

Fallback = Callable[[BaseException], Awaitable[Confirmation]]
"""Sends something else in place of a message that was refused for good."""

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
    """Sends messages to given partitions, again and again until a broker confirms them, and counts them."""

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
        """Return the departures, none yet, of the records in an envelope."""
        return Departures.of(envelope, self.limits)

    async def dispatch(self, departures: Departures, fill: float = 1.0) -> list[Confirmation]:
        """Pack and send what departs; packs are filled to this share of `pack_bytes`.

        The records of an origin's partition stay in that partition.
        """
        return [await self.send(address, envelope) for address, envelope in departures.packs(self.limits, fill)]

    async def send(self, address: str, envelope: Envelope) -> Confirmation:
        """Send an envelope; split one that no message can hold, and cut a record short that is too large by itself."""
        value = envelope.encode()
        if len(value) > self.limits.message_bytes:
            return await self._divide(address, envelope, len(value))
        self.metrics.sent(address, len(envelope), len(value))
        fallback = partial(self._send_fallback, address, value)
        return await self.produce(self.topics.at(address), envelope.origin.partition, value, on_refused=fallback)

    async def end(self, envelope: Envelope, outcome: Outcome) -> list[Confirmation]:
        """End the journeys of the records in an envelope."""
        departures = self.departures(envelope)
        for segment in envelope.segments:
            departures.end(segment, outcome)
        return await self.dispatch(departures)

    async def _send_fallback(self, address: str, value: bytes, error: BaseException) -> Confirmation:
        """Send the parts of an envelope that is too large; end its records where their next stop has no topic."""
        envelope = Envelope.decode(value)  # it is not kept until then: most are confirmed
        if isinstance(error, TooLarge):
            return await self._divide(address, envelope, len(value))
        outcome = Outcome.dead(Cause.UNROUTABLE, f"there is no topic {self.topics.at(address)}: {error}")
        return asyncio.create_task(all_of(await self.end(envelope, outcome)))

    async def _divide(self, address: str, envelope: Envelope, size: int) -> Confirmation:
        """Send the halves of an envelope; a record that is too large by itself ends at the arrivals."""
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
        """Send a message until a broker has it; return its confirmation."""
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
        wait = min(FIRST_WAIT * 2 ** (shipment.attempts - 1), LONGEST_WAIT)
        log.warning(
            "%s did not take a message (%s), attempt %d in %.1f s", shipment.topic, error, shipment.attempts + 1, wait
        )
        self._spawn(self._attempt_later(shipment, wait))

    def _is_refused_for_good(self, shipment: _Shipment, error: BaseException) -> bool:
        """Whether another attempt would fail in the same way; the topic of the arrivals is always waited for."""
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
