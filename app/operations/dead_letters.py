"""Requests to the arrivals to replay or discard dead letters, each noted in the journal before."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Sequence

from metroline.agents.kafka.cluster import Cluster
from metroline.agents.kafka.topics import Topics
from metroline.app.operations.letter_journal import entries_of
from metroline.app.operations.permission import Permission
from metroline.app.operations.replay_jobs import note_done
from metroline.routing.addresses import ARRIVALS
from metroline.routing.messages.envelope import Envelope

MAX_REQUEST_BYTES = 8 * 1024 * 1024


async def send_requests(
    cluster: Cluster, topics: Topics, requests: Sequence[Envelope], rate: float, permission: Permission
) -> AsyncIterator[int]:
    """Send requests to the arrivals in order, `rate` per second. Yield the number that is confirmed so far.

    Raise `NotPermitted` before the first one is sent, and `ClusterError` if the journal cannot be written.
    """
    permission.demand()
    await note_done(cluster, topics, entries_of(requests), permission)
    async with cluster.producer(max_request_size=MAX_REQUEST_BYTES) as producer:
        began = time.monotonic()
        for number, request in enumerate(requests):
            await asyncio.sleep(max(0.0, began + number / rate - time.monotonic()))
            topic, partition = topics.at(ARRIVALS), request.origin.partition
            await producer.send_and_wait(topic, request.encode(), partition=partition)
            yield number + 1
