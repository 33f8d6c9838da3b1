"""Sends messages to Kafka, each repeatedly until a broker confirms it."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Protocol

from metroline.agents.delivery.unit_of_work import UnitOfWork
from metroline.agents.kafka.producer import (
    Confirmation,
    KeyedMessage,
    NoTopic,
    ProducerClosed,
    SomeNotSent,
    TooLarge,
)

FIRST_WAIT_SECONDS, MAX_WAIT_SECONDS = 0.1, 5.0
"""First and longest wait between two attempts to send a message. The wait doubles with each attempt."""

NO_TOPIC_ATTEMPTS = 3
"""Failed attempts after which a missing topic is given up. The producer itself waits for the topic at each attempt."""

Fallback = Callable[[BaseException], Awaitable[None]]
"""Sends something else in place of a message that cannot be sent; receives the error."""

log = logging.getLogger(__name__)


class Producer(Protocol):
    """The part of a producer that is used here."""

    async def send(self, topic: str, key: bytes | None, value: bytes, partition: int) -> Confirmation: ...
    async def send_all(self, topic: str, messages: Sequence[KeyedMessage]) -> Confirmation: ...


@dataclass(slots=True)
class Shipment:
    """A message on its way to the brokers; `unit` is held until a broker confirms the message."""

    topic: str
    partition: int
    key: bytes | None
    value: bytes
    unit: UnitOfWork
    on_refused: Fallback | None = None
    """If given, it is called instead of another attempt once an error is permanent."""
    is_needed: bool = False
    """True if a missing topic is waited for, since no other topic can take its place."""
    attempts: int = 0

    async def send(self, producer: Producer) -> Confirmation:
        """Send the message once."""
        return await producer.send(self.topic, self.key, self.value, self.partition)

    def failed(self, error: BaseException) -> None:
        """Note that an attempt failed."""
        self.attempts += 1

    def fallback(self, error: BaseException) -> Awaitable[None] | None:
        """Return what takes the place of another attempt, if the error is permanent."""
        return None if self.on_refused is None or not self._is_permanent(error) else self.on_refused(error)

    def _is_permanent(self, error: BaseException) -> bool:
        if isinstance(error, NoTopic):
            return self.attempts >= NO_TOPIC_ATTEMPTS and not self.is_needed
        return isinstance(error, TooLarge)


@dataclass(slots=True)
class JointShipment:
    """Messages for one topic on their way to the brokers; `unit` is held until all of them are confirmed.

    They are never given up. An attempt sends those that failed in the one before.
    """

    topic: str
    messages: Sequence[KeyedMessage]
    unit: UnitOfWork
    attempts: int = 0

    async def send(self, producer: Producer) -> Confirmation:
        """Send the messages once."""
        return await producer.send_all(self.topic, self.messages)

    def failed(self, error: BaseException) -> None:
        """Note that an attempt failed for all or some of the messages."""
        self.attempts += 1
        if isinstance(error, SomeNotSent):
            self.messages = error.messages

    def fallback(self, error: BaseException) -> None:
        """Return None: there is always another attempt."""


class Shipping:
    """Sends messages, each to a given partition and repeatedly until a broker confirms it."""

    def __init__(self, producer: Producer) -> None:
        self._producer = producer
        self._tasks: set[asyncio.Task[None]] = set()
        self._failing: Counter[str] = Counter()
        """Number of messages whose last attempt failed, by topic."""

    @property
    def failing(self) -> list[str]:
        """The topics that messages could not be written to at the last attempt, sorted."""
        return sorted(topic for topic, count in self._failing.items() if count)

    async def ship(self, shipment: Shipment | JointShipment) -> None:
        """Send a message, or several, as a part of a unit of work."""
        shipment.unit.hold()
        await self._attempt(shipment)

    async def offer(self, topic: str, partition: int, value: bytes) -> None:
        """Send a message that nobody needs. It is left out, with a line in the log, if the brokers do not take it."""

        def answered(answer: Confirmation) -> None:
            error = None if answer.cancelled() else answer.exception()
            if error is not None and not isinstance(error, ProducerClosed):
                log.warning("a message for %s is left out (%s)", topic, error)

        (await self._producer.send(topic, None, value, partition)).add_done_callback(answered)

    async def _attempt(self, shipment: Shipment | JointShipment) -> None:
        sent = await shipment.send(self._producer)
        sent.add_done_callback(partial(self._answered, shipment))

    def _answered(self, shipment: Shipment | JointShipment, answer: Confirmation) -> None:
        if answer.cancelled():
            return
        error = answer.exception()
        if error is None:
            self._note_end(shipment)
            shipment.unit.release()
        else:
            self._failed(shipment, error)

    def _failed(self, shipment: Shipment | JointShipment, error: BaseException) -> None:
        fallback = shipment.fallback(error)
        if fallback is not None:
            self._note_end(shipment)
            self._spawn(self._replace(shipment, fallback))
            return
        if isinstance(error, ProducerClosed):
            log.debug("a message for %s is not sent any more, and what it was made from comes again", shipment.topic)
            return
        self._failing[shipment.topic] += not shipment.attempts
        shipment.failed(error)
        wait = min(FIRST_WAIT_SECONDS * 2 ** (shipment.attempts - 1), MAX_WAIT_SECONDS)
        log.warning(
            "a message was not written to %s (%s); attempt %d follows in %.1f s",
            shipment.topic,
            error,
            shipment.attempts + 1,
            wait,
        )
        self._spawn(self._attempt_later(shipment, wait))

    def _note_end(self, shipment: Shipment | JointShipment) -> None:
        """Note that there will be no further attempt."""
        if shipment.attempts:
            self._failing[shipment.topic] -= 1

    async def _attempt_later(self, shipment: Shipment | JointShipment, wait: float) -> None:
        await asyncio.sleep(wait)
        await self._attempt(shipment)

    async def _replace(self, shipment: Shipment | JointShipment, fallback: Awaitable[None]) -> None:
        """Send something else in place of a message; its unit of work is never complete if that fails."""
        try:
            await fallback
        except Exception as error:  # noqa: BLE001 - a defect of Metroline: the unit logs it, and its message comes again
            shipment.unit.fail(error)
        else:
            shipment.unit.release()

    def _spawn(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
