"""Sends what was made and says when the brokers have it; a message is acknowledged only after that, and in order."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine, Iterable
from dataclasses import dataclass, replace
from functools import partial
from typing import Protocol

from faust.types import TP, EventT

from metroline.agents.delivery.metrics import WorkerMetrics
from metroline.agents.kafka.producer import NoTopic, TooLarge
from metroline.agents.kafka.topics import Topics
from metroline.routing.addresses import ARRIVALS
from metroline.routing.journeys.dead_letters import too_large
from metroline.routing.journeys.departures import Departures, Limits
from metroline.routing.messages.envelope import Envelope, pack
from metroline.routing.messages.itinerary import Hop
from metroline.routing.messages.record_ids import Origin
from metroline.routing.outcome import Cause, Outcome

Confirmation = asyncio.Future[None]

FIRST_WAIT, LONGEST_WAIT = 0.1, 5.0
"""Seconds between two attempts to send what the broker did not confirm."""

NO_TOPIC_ATTEMPTS = 3
"""After how many attempts a topic that does not exist counts as one that never will: the producer waits itself, too."""

Fallback = Callable[[BaseException], Awaitable[Confirmation]]
"""Sends something else in place of a message that was refused for good."""

log = logging.getLogger(__name__)


class Producer(Protocol):
    """What the bus needs of a producer."""

    async def send(self, topic: str, key: bytes | None, value: bytes, partition: int) -> asyncio.Future[None]: ...


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
    """Sends to one partition of a topic and tries again until the broker confirms; counts what it sent."""

    def __init__(self, topics: Topics, limits: Limits, producer: Producer, metrics: WorkerMetrics) -> None:
        self.topics = topics
        self.limits = limits
        self.metrics = metrics
        self._producer = producer
        self._tasks: set[asyncio.Task[None]] = set()

    def departures(self, strategy: str, origin: Origin) -> Departures:
        return Departures(strategy, origin, self.limits.max_hops)

    async def dispatch(self, departures: Departures, fill: float = 1.0) -> list[Confirmation]:
        """Packs and sends what departs, packs filled to this share of `pack_bytes`.

        The records of an origin's partition stay in that partition.
        """
        confirmations = []
        size, count = int(self.limits.pack_bytes * fill), self.limits.pack_records
        for address, segments in departures.by_address.items():
            for envelope in pack(departures.strategy, departures.origin, segments, size, count):
                confirmations.append(await self.send(address, envelope))
        return confirmations

    async def send(self, address: str, envelope: Envelope) -> Confirmation:
        """Sends an envelope; one that no message can hold is sent in parts, and a record alone is cut short."""
        value = envelope.encode()
        if len(value) > self.limits.message_bytes:
            return await self._divide(address, envelope, len(value))
        self.metrics.sent(address, len(envelope), len(value))
        instead = partial(self._send_instead, address, value)
        return await self.produce(self.topics.at(address), envelope.origin.partition, value, on_refused=instead)

    async def end(self, envelope: Envelope, outcome: Outcome) -> list[Confirmation]:
        """Ends the journeys of an envelope's records."""
        departures = self.departures(envelope.strategy, envelope.origin)
        for segment in envelope.segments:
            departures.add(replace(segment, outcome=None), Hop(ARRIVALS, outcome=outcome))
        return await self.dispatch(departures)

    async def _send_instead(self, address: str, value: bytes, error: BaseException) -> Confirmation:
        """Sends the parts of an envelope that is too large; ends its records where their next stop has no topic."""
        envelope = Envelope.decode(value)  # it is not kept until then: most are confirmed
        if isinstance(error, TooLarge):
            return await self._divide(address, envelope, len(value))
        outcome = Outcome.dead(Cause.UNROUTABLE, f"there is no topic {self.topics.at(address)}: {error}")
        return asyncio.create_task(all_of(await self.end(envelope, outcome)))

    async def _divide(self, address: str, envelope: Envelope, size: int) -> Confirmation:
        """Sends the halves of an envelope; a record that is too large by itself ends at the arrivals."""
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
        """Sends a message and gives its confirmation: it is sent again until the broker has it."""
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
        """Whether another attempt would end as this one did; the arrivals, where all ends, are waited for."""
        if isinstance(error, NoTopic):
            return shipment.attempts >= NO_TOPIC_ATTEMPTS and shipment.topic != self.topics.at(ARRIVALS)
        return isinstance(error, TooLarge)

    async def _attempt_later(self, shipment: _Shipment, wait: float) -> None:
        await asyncio.sleep(wait)
        await self._attempt(shipment)

    async def _replace(self, shipment: _Shipment, instead: Awaitable[Confirmation]) -> None:
        await (await instead)
        if not shipment.confirmation.done():
            shipment.confirmation.set_result(None)

    def _spawn(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


async def all_of(confirmations: Iterable[Confirmation]) -> None:
    """Waits until all of them are in."""
    for confirmation in confirmations:
        await confirmation


@dataclass(slots=True, eq=False)
class PendingMessage:
    """A message that was taken: acknowledged when everything that was made from it is confirmed."""

    event: EventT[bytes]
    open: int = 1


class AckTracker:
    """Acknowledges messages in order, per topic and partition, and bounds how many are open.

    Faust commits past a message that is still open (`Consumer._new_offset`), so none is acknowledged before those in
    front of it.
    """

    def __init__(self, limit: int = 32) -> None:
        self._limit = limit
        self._count = 0
        self._forgotten = 0
        self._queues: dict[TP, deque[PendingMessage]] = {}
        self._room = asyncio.Event()
        self._room.set()

    async def take(self, event: EventT[bytes]) -> PendingMessage | None:
        """Notes a message as open; waits while too many are. None where partitions changed hands meanwhile.

        Such a message comes again, behind those that were open before it.
        """
        forgotten = self._forgotten
        while self._count >= self._limit:
            self._room.clear()
            await self._room.wait()
            if forgotten != self._forgotten:
                return None
        self._count += 1
        pending = PendingMessage(event)
        self._queues.setdefault(event.message.tp, deque()).append(pending)
        return pending

    def settle(self, pending: PendingMessage, confirmations: Iterable[Confirmation]) -> None:
        """The message counts as done once all of these are in."""
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

    def forget(self) -> None:
        """Acknowledges nothing of what is open: called when partitions change hands, and all of it comes again."""
        self._queues.clear()
        self._forgotten += 1
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
