"""Requests to the arrivals to replay or discard dead letters."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Sequence

from metroline.agents.kafka.cluster import Cluster
from metroline.agents.kafka.topics import Topics
from metroline.app.operations.journal_notes import Deed, note_deed
from metroline.app.operations.permission import Permission
from metroline.routing.addresses import ARRIVALS
from metroline.routing.messages.envelope import Envelope
from metroline.routing.messages.record_ids import id_text
from metroline.routing.messages.segment import DiscardRequest

MAX_REQUEST_BYTES = 8 * 1024 * 1024


async def send_requests(
    cluster: Cluster, topics: Topics, requests: Sequence[Envelope], rate: float, permission: Permission
) -> AsyncIterator[int]:
    """Send requests to the arrivals in order, `rate` per second. Yield the number that is confirmed so far.

    They are all to replay or all to discard. At the end, however it comes, those that were sent are noted in the
    journal. Raise `NotPermitted` before the first one is sent.
    """
    permission.demand()
    sent = 0
    try:
        async with cluster.producer(max_request_size=MAX_REQUEST_BYTES) as producer:
            began = time.monotonic()
            for number, request in enumerate(requests):
                await asyncio.sleep(max(0.0, began + number / rate - time.monotonic()))
                topic, partition = topics.at(ARRIVALS), request.origin.partition
                await producer.send_and_wait(topic, request.encode(), partition=partition)
                sent = number + 1
                yield sent
    finally:
        if sent:
            await _note(cluster, topics, permission, requests[0], sent)


async def _note(cluster: Cluster, topics: Topics, permission: Permission, request: Envelope, sent: int) -> None:
    """Note in the journal what the first one of some requests asks for, and how many of them were sent."""
    [segment] = request.segments
    asked = segment.request
    await note_deed(
        cluster,
        topics,
        permission,
        Deed.DISCARDED if isinstance(asked, DiscardRequest) else Deed.REPLAYED,
        sent,
        letter=id_text(request.origin, segment.ids[0]) if sent == 1 else "",
        reason=asked.reason if isinstance(asked, DiscardRequest) else "",
    )
