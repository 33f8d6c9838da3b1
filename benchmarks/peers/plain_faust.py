"""Plain Faust: one agent per stop; offsets of processed records are committed every second."""

from __future__ import annotations

import os
from typing import Any

import faust
import uvloop
from faust.transport.drivers import aiokafka as driver

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
    Handler,
    report_drops_at_exit,
    topic,
)

uvloop.install()
app = faust.App(
    GROUP,
    broker=f"kafka://{BROKER}",
    topic_allow_declare=False,
    topic_disable_leader=True,
    web_enabled=False,
    producer_linger=LINGER_MS / 1000,
    producer_max_batch_size=512 * 1024,
    broker_commit_interval=COMMIT_SECONDS,
    broker_session_timeout=SESSION_MS / 1000,
    broker_rebalance_timeout=REBALANCE_MS / 1000,
    broker_heartbeat_interval=HEARTBEAT_MS / 1000,
    datadir=os.environ["FOLDER"],
)


def agent(name: str, handler: Handler, following: str) -> None:
    """Create the agent of a stop."""
    goes_to = app.topic(topic(following), value_serializer="json")

    @app.agent(app.topic(topic(name), value_serializer="json"), name=name)
    async def handle(records: Any) -> None:
        async for record in records:
            passed = handler(record)
            if passed is not None:
                await goes_to.send(value=passed)


for each, (does, next_stop) in STOPS.items():
    agent(each, does, next_stop)


def set_fetch_wait() -> None:
    """Set the time that a fetch waits for data: Faust has no setting for its 1.5 s.

    The embedded broker does not answer a waiting fetch when data arrives.
    """
    create = driver.AIOKafkaConsumerThread._create_worker_consumer

    def created(thread: Any, transport: Any) -> Any:
        consumer = create(thread, transport)
        consumer._fetch_max_wait_ms = FETCH_WAIT_MS
        return consumer

    setattr(driver.AIOKafkaConsumerThread, create.__name__, created)


if __name__ == "__main__":
    report_drops_at_exit()
    if "FETCH_WAIT" in os.environ:
        set_fetch_wait()
    faust.Worker(app, loglevel="WARNING", quiet=True, redirect_stdouts=False).execute_from_commandline()
