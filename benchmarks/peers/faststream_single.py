"""FastStream one by one: one subscriber per stop, which commits on a timer, the default.

With `AckPolicy.ACK` it would commit each record after what it published is confirmed, for twice the CPU time.
"""

from __future__ import annotations

from typing import Any

import uvloop
from faststream import FastStream
from faststream.kafka import KafkaBroker

from benchmarks.peers.stops import (
    BROKER,
    COMMIT_MS,
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

broker = KafkaBroker(BROKER, apply_types=False, log_level=30, acks="all")


def stop(name: str, handler: Handler, following: str) -> None:
    """Create the subscriber of a stop."""

    @broker.subscriber(
        topic(name),
        group_id=f"{GROUP}.{name}",
        auto_offset_reset="earliest",
        auto_commit_interval_ms=COMMIT_MS,
        fetch_max_wait_ms=FETCH_WAIT_MS,
        session_timeout_ms=SESSION_MS,
        heartbeat_interval_ms=HEARTBEAT_MS,
        rebalance_timeout_ms=REBALANCE_MS,
    )
    async def handle(record: dict[str, Any]) -> None:
        passed = handler(record)
        if passed is not None:
            await broker.publish(passed, topic=following)


for each, (does, goes_to) in STOPS.items():
    stop(each, does, topic(goes_to))

if __name__ == "__main__":
    report_drops_at_exit()
    uvloop.run(FastStream(broker).run(log_level=30))
