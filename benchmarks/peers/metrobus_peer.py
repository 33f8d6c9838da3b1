"""Metrobus 0.0.23: one MetroStop per stop, each in a thread; the bus driver writes the route into each message.

Metrobus counts every message in a Redis, commits on a timer what it has read, and waits for no confirmation. Its code
fixes the address of the producer's broker (`kafka:9092`); this module replaces the address and the timeouts.
"""

from __future__ import annotations

import os
from functools import partial
from threading import Thread
from typing import Any

from metrobus import metrobus

from benchmarks.peers.stops import (
    BROKER,
    FETCH_WAIT_MS,
    GROUP,
    HEARTBEAT_MS,
    LINGER_MS,
    SESSION_MS,
    STOPS,
    Handler,
    report_drops_at_exit,
    topic,
)

ROUTE = [topic(stop) for stop in ("contact_point", "allow_list", "log", "delivered")]
Message = dict[str, Any]


class Producer(metrobus.KafkaProducer):  # type: ignore[misc]
    """A producer of kafka-python that connects to the broker of the run."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings | {"bootstrap_servers": [BROKER], "linger_ms": LINGER_MS})


def bus_driver(record: Message, handler: Handler, full_message: Message) -> Message | None:
    """Return a message with the record and its route; the framework takes the next stop from the end of the route."""
    if handler(record) is None:
        return None
    route = ROUTE[::-1]
    header = {"route": route, "original_route": list(route), "historical_route": []}
    return {"header": header, "payload": record}


def handle(record: Message, handler: Handler, full_message: Message) -> Message | None:
    return handler(record)


def run() -> None:
    metrobus.KafkaProducer = Producer
    metrobus.KafkaConsumer = partial(
        metrobus.KafkaConsumer,
        fetch_max_wait_ms=FETCH_WAIT_MS,
        session_timeout_ms=SESSION_MS,
        heartbeat_interval_ms=HEARTBEAT_MS,
    )
    stops = []
    for name, (handler, _) in STOPS.items():
        os.environ["CONSUMER_GROUP"] = f"{GROUP}.{name}"
        callback = partial(bus_driver if name == "source" else handle, handler=handler)
        stop = metrobus.MetroStop(callback, in_topic=topic(name))
        stop.get_consumer()  # reads the group's name from the environment
        stops.append(stop)
    threads = [Thread(target=stop.start, daemon=True) for stop in stops]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


if __name__ == "__main__":
    report_drops_at_exit()
    run()
