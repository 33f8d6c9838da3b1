"""Requests to the arrivals to replay or discard dead letters, each noted in the journal before it is sent."""

from __future__ import annotations

import asyncio
import logging
import time
import uuid
from collections.abc import AsyncIterable, AsyncIterator, Iterator, Sequence
from dataclasses import dataclass, field
from typing import cast

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError
from aiokafka.structs import RecordMetadata
from msgspec.structs import replace

from metroline.agents.kafka.cluster import Cluster
from metroline.agents.kafka.topics import Topics
from metroline.app.operations.journal_notes import NOTE_SECONDS
from metroline.app.operations.letter import DeadLetterError
from metroline.app.operations.letter_journal import entries_of
from metroline.app.operations.permission import Permission
from metroline.app.operations.replay_jobs import note_done
from metroline.routing.addresses import ARRIVALS
from metroline.routing.errors import MetrolineError
from metroline.routing.journeys.replay_job_messages import Done, key_of
from metroline.routing.messages.envelope import Envelope

MAX_REQUEST_BYTES = 8 * 1024 * 1024

NOTED_SECONDS = 5.0
"""Time in which the requests that are noted together are sent. A command that is killed has noted no more than these
without sending them."""

MAX_NOTED = 10_000
"""Number of requests that are noted together."""

Confirmation = asyncio.Future[RecordMetadata]

log = logging.getLogger(__name__)


async def send_requests(
    cluster: Cluster,
    topics: Topics,
    portions: AsyncIterable[Sequence[Envelope]],
    rate: float,
    permission: Permission,
) -> AsyncIterator[int]:
    """Send the requests of one replay or discard to the arrivals, `rate` per second. Yield the number confirmed so far.

    What becomes of each letter is noted before its request is sent. If the requests end early, for whatever reason, the
    journal is corrected: it has those that were sent. Raise `NotPermitted` before the first one is sent, and
    `ClusterError` if the journal cannot be written.
    """
    permission.demand()
    noted, sent = _Noted(cluster, topics, permission), 0
    async for requests in portions:
        try:
            async with cluster.producer(max_request_size=MAX_REQUEST_BYTES) as producer:
                due = time.monotonic()
                for some in _together(requests, rate):
                    await noted.note(some)
                    for request in some:
                        await asyncio.sleep(max(0.0, due - time.monotonic()))
                        await noted.send(producer, request)
                        due, sent = due + 1 / rate, sent + 1
                        yield sent
        finally:  # the producer is closed: each request was written, or never will be
            await noted.correct()


def is_written(confirmation: Confirmation) -> bool:
    """Return whether the brokers have confirmed a message."""
    return confirmation.done() and not confirmation.cancelled() and confirmation.exception() is None


def _together(requests: Sequence[Envelope], rate: float) -> Iterator[Sequence[Envelope]]:
    """Yield requests in the portions that are noted together."""
    count = max(1, min(int(rate * NOTED_SECONDS), MAX_NOTED))
    return (requests[first : first + count] for first in range(0, len(requests), count))


@dataclass(slots=True)
class _Noted:
    """The entries of the journal for one replay or discard."""

    cluster: Cluster
    topics: Topics
    permission: Permission
    order: str = field(default_factory=lambda: uuid.uuid4().hex)
    _parts: int = 0
    """Number of entries that are right."""
    _entries: list[Done] = field(default_factory=list)
    """The latest entries, for requests that may not all have been sent."""
    _requests: Sequence[Envelope] = ()
    _sent: list[Confirmation] = field(default_factory=list)
    """The confirmations of the first of these."""

    async def note(self, requests: Sequence[Envelope]) -> None:
        """Note requests that are about to be sent; all before them were."""
        self._parts += len(self._entries)
        self._entries, self._requests, self._sent = self._entries_of(requests), requests, []
        await note_done(self.cluster, self.topics, self._entries, self.permission)

    async def send(self, producer: AIOKafkaProducer, request: Envelope) -> None:
        """Send one of the requests that were noted, and wait until it is confirmed."""
        topic, partition = self.topics.at(ARRIVALS), request.origin.partition
        confirmation = cast(Confirmation, await producer.send(topic, request.encode(), partition=partition))
        self._sent.append(confirmation)
        await asyncio.shield(confirmation)  # whoever stops waiting still learns what was written

    async def correct(self) -> None:
        """Note no more than what was sent. A journal that cannot be written to stays as it is, with a warning."""
        sent = [request for request, one in zip(self._requests, self._sent, strict=False) if is_written(one)]
        if len(sent) == len(self._requests):
            return
        right = [replace(entry, at=self._entries[0].at) for entry in self._entries_of(sent)]
        wrong = [key_of(entry) for entry in self._entries[len(right) :]]
        try:
            async with asyncio.timeout(NOTE_SECONDS):
                await note_done(self.cluster, self.topics, right, self.permission, wrong)
        except DeadLetterError:  # there is no journal
            return
        except (MetrolineError, KafkaError, OSError) as error:  # a timeout is an OSError, too
            log.warning(
                "the journal has %d dead letters as replayed or discarded that were not, since it cannot be written "
                "to: %s",
                len(self._requests) - len(sent),
                str(error) or "the brokers do not answer",
            )

    def _entries_of(self, requests: Sequence[Envelope]) -> list[Done]:
        return list(entries_of(requests, self.order, self._parts))
