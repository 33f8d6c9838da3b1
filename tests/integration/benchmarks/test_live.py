"""Live traffic, bounded: what a line must hold while records keep coming, however slow the machine of the tests is."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from benchmarks.live.load import under_load
from benchmarks.live.measured import is_complete
from benchmarks.live.stream import Stream
from benchmarks.systems.brokers import Testbed
from benchmarks.systems.made_lines import waiting
from benchmarks.systems.strategy import Strategy
from benchmarks.systems.systems import SYSTEMS
from benchmarks.systems.trials import Figures
from tests.support.brokers import Broker

PARTITIONS = 12
SECONDS, GRACE_SECONDS = 10.0, 8.0
"""Time for which records keep coming, and time until all are delivered.

A line that takes a third of them falls behind by 20 seconds meanwhile. One that keeps up is delayed by seconds at most,
even on a slow machine.
"""
TRIES = 2
CHAINED = (("CHAINING", "on"),)

alone = pytest.mark.skipif(
    "PYTEST_XDIST_WORKER" in os.environ, reason="has the machine for itself in `make test-live`, which CI runs as well"
)


@pytest.fixture
def kafka_testbed(kafka_broker: Broker, tmp_path: Path) -> Iterator[Testbed]:
    with ExitStack() as resources:
        yield Testbed(kafka_broker, tmp_path, resources)


@alone
def test_1000_records_per_second_on_12_partitions_are_held(kafka_testbed: Testbed) -> None:
    stream = Stream.make()
    found: list[Figures] = []
    while len(found) < TRIES and not (found and is_complete(found[-1])):
        with under_load(Strategy("signpost", settings=CHAINED), kafka_testbed, PARTITIONS, stream) as load:
            found.append(load.at(1_000.0, SECONDS, GRACE_SECONDS))
    assert is_complete(found[-1]), f"not all were delivered within {GRACE_SECONDS:g} s: {found}"


@alone
@pytest.mark.parametrize("chaining", ["on", "off"])
def test_the_concurrency_of_a_stop_holds_over_all_its_messages(kafka_testbed: Testbed, chaining: str) -> None:
    line = waiting()
    made = Strategy("signpost", str(line.write(kafka_testbed.folder)), line.first_stops, (("CHAINING", chaining),))
    with under_load(made, kafka_testbed, PARTITIONS, Stream.make(line.evaluate), warm_up_rate=50.0) as load:
        figures = load.at(80.0, SECONDS, GRACE_SECONDS)
    assert figures["share"] == 1, f"64 at once, 0.5 s each: 128 records per second are possible; {figures}"
    assert figures["p50"] >= 500, "each record waits for half a second"


def test_a_system_at_a_rate_has_figures(testbed: Testbed) -> None:
    confluent = next(system for system in SYSTEMS if system.name == "raw_confluent")
    with under_load(confluent, testbed, 4, Stream.make()) as load:
        held = load.at(50.0, 1.0)
        assert (held["share"], held["repeated"]) == (1.0, 0)
        assert 0 < held["p50"] <= held["p99"] <= held["max"]
        assert 0 < held["cpu"] < 1
        assert held["messages_per_record"] == pytest.approx(3.24, abs=0.2), "one for each hop of each record"
