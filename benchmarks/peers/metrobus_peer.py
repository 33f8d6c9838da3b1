"""Metrobus 0.0.23: a MetroStop a stop, here in threads; the bus driver writes the route into each message.

It counts every message in a Redis, commits by time what it has read, and waits for no confirmation. Where its producer
looks for a broker is fixed in its code (`kafka:9092`); that is changed here, and the waits are.
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
    Work,
    tell_at_the_end,
    topic,
)

WAY = [topic(stop) for stop in ("contact_point", "allow_list", "log", "delivered")]
Message = dict[str, Any]


class Producer(metrobus.KafkaProducer):  # type: ignore[misc]
    """kafka-python's, at our broker."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings | {"bootstrap_servers": [BROKER], "linger_ms": LINGER_MS})


def bus_driver(record: Message, work: Work, full_message: Message) -> Message | None:
    """Gives a new record its route; the framework takes the next stop from its end."""
    if work(record) is None:
        return None
    route = WAY[::-1]
    header = {"route": route, "original_route": list(route), "historical_route": []}
    return {"header": header, "payload": record}


def handle(record: Message, work: Work, full_message: Message) -> Message | None:
    return work(record)


def run() -> None:
    metrobus.KafkaProducer = Producer
    metrobus.KafkaConsumer = partial(
        metrobus.KafkaConsumer,
        fetch_max_wait_ms=FETCH_WAIT_MS,
        session_timeout_ms=SESSION_MS,
        heartbeat_interval_ms=HEARTBEAT_MS,
    )
    stops = []
    for name, (work, _) in STOPS.items():
        os.environ["CONSUMER_GROUP"] = f"{GROUP}.{name}"
        callback = partial(bus_driver if name == "source" else handle, work=work)
        stop = metrobus.MetroStop(callback, in_topic=topic(name))
        stop.get_consumer()  # which reads the group's name from the environment
        stops.append(stop)
    threads = [Thread(target=stop.start, daemon=True) for stop in stops]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


if __name__ == "__main__":
    tell_at_the_end()
    run()
