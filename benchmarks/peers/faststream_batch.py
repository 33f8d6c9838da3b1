"""FastStream with batches: one subscriber per stop, which commits after what it published is confirmed."""

from __future__ import annotations

import asyncio
from typing import Any

import uvloop
from faststream import AckPolicy, FastStream
from faststream.kafka import KafkaBroker

from benchmarks.peers.stops import (
    BROKER,
    FETCH_WAIT_MS,
    GROUP,
    HEARTBEAT_MS,
    REBALANCE_MS,
    SESSION_MS,
    STOPS,
    Handler,
    report_drops_at_exit,
    topic,
)

broker = KafkaBroker(BROKER, apply_types=False, log_level=30, max_batch_size=512 * 1024, acks="all")
PER_CALL = 300
"""Number of records published together: as many as `max_batch_size` holds, with room for records that grow."""


def stop(name: str, handler: Handler, following: str) -> None:
    """Create the subscriber of a stop."""

    @broker.subscriber(
        topic(name),
        batch=True,
        group_id=f"{GROUP}.{name}",
        auto_offset_reset="earliest",
        ack_policy=AckPolicy.ACK,
        fetch_max_wait_ms=FETCH_WAIT_MS,
        session_timeout_ms=SESSION_MS,
        heartbeat_interval_ms=HEARTBEAT_MS,
        rebalance_timeout_ms=REBALANCE_MS,
        batch_timeout_ms=200,
        max_records=5_000,
    )
    async def handle(records: list[dict[str, Any]]) -> None:
        kept = [record for record in map(handler, records) if record is not None]
        calls = [kept[start : start + PER_CALL] for start in range(0, len(kept), PER_CALL)]
        await asyncio.gather(*[broker.publish_batch(*call, topic=following) for call in calls])


for each, (does, goes_to) in STOPS.items():
    stop(each, does, topic(goes_to))

if __name__ == "__main__":
    report_drops_at_exit()
    uvloop.run(FastStream(broker).run(log_level=30))
