"""Quix Streams: one streaming dataframe per stop in one application, which flushes its producer before it commits."""

from __future__ import annotations

from typing import Any, cast

from quixstreams import Application

from benchmarks.peers.stops import (
    BROKER,
    COMMIT_SECONDS,
    FETCH_WAIT_MS,
    GROUP,
    HEARTBEAT_MS,
    LINGER_MS,
    REBALANCE_MS,
    SESSION_MS,
    STOPS,
    Record,
    report_drops_at_exit,
    topic,
)

app = Application(
    broker_address=BROKER,
    consumer_group=GROUP,
    auto_offset_reset="earliest",
    commit_interval=COMMIT_SECONDS,
    auto_create_topics=False,
    loglevel="WARNING",
    consumer_extra_config={
        "fetch.wait.max.ms": FETCH_WAIT_MS,
        "session.timeout.ms": SESSION_MS,
        "heartbeat.interval.ms": HEARTBEAT_MS,
        "max.poll.interval.ms": max(SESSION_MS, REBALANCE_MS),
    },
    producer_extra_config={
        "linger.ms": LINGER_MS,
        "enable.idempotence": True,
        "queue.buffering.max.messages": 1_000_000,
    },
)


def kept(record: Record | None) -> bool:
    return record is not None


def run() -> None:
    topics: dict[str, Any] = {name: app.topic(topic(name)) for name in [*STOPS, "delivered"]}
    for name, (handler, following) in STOPS.items():
        frame = app.dataframe(topics[name]).apply(cast("Any", handler)).filter(kept)
        frame.to_topic(topics[following], key=lambda _: None)
    app.run()


if __name__ == "__main__":
    report_drops_at_exit()
    run()
