"""The systems that are measured: Metroline's strategies and the peers."""

from __future__ import annotations

from benchmarks.systems.peer import Peer
from benchmarks.systems.strategy import Strategy
from benchmarks.systems.system import System
from metroline.routing.strategies import STRATEGIES

CONFIRMED = "at least once: commits offsets after a batch is confirmed"
SYSTEMS: tuple[System, ...] = (
    *(Strategy(name) for name in STRATEGIES),
    Peer("raw_confluent", "raw confluent-kafka", CONFIRMED, "confluent_kafka", shares_packages=True),
    Peer("one_loop", "one confluent-kafka loop, no hops", CONFIRMED, "confluent_kafka", shares_packages=True),
    Peer("raw_aiokafka", "raw aiokafka", CONFIRMED, "aiokafka", shares_packages=True),
    Peer(
        "quix_streams",
        "Quix Streams",
        "at least once: flushes its producer, then commits, every second",
        "quixstreams",
        max_records=50_000,
    ),
    Peer(
        "faststream_batch",
        "FastStream, batches",
        "at least once: commits each batch after what it published is confirmed",
        "faststream.kafka",
        max_records=50_000,
    ),
    Peer(
        "faststream_single",
        "FastStream, one by one",
        "commits what was read on a timer: each stop can lose the record it is working on",
        "faststream.kafka",
        max_records=5_000,
    ),
    Peer(
        "plain_faust",
        "plain Faust",
        "commits what its agents have processed every second, even if what they sent is not confirmed yet",
        "faust",
        max_records=10_000,
    ),
    Peer(
        "metrobus_peer",
        "Metrobus 0.0.23",
        "commits what was read on a timer, whether or not it was processed; waits for no confirmation",
        "metrobus",
        max_records=5_000,
    ),
)
