"""Under every fault, each record that was sent has exactly one outcome in the counts, and is on the matching topic."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from metroline.routing.strategies import STRATEGIES
from tests.chaos.plan import CREWS, Kind, plan
from tests.chaos.run import VARIABLES, run
from tests.support.brokers import Broker, running_node
from tests.support.depot import Depot
from tests.support.kafka_node import KafkaNode

FAULTS, SEED = os.environ.get("FAULTS"), os.environ.get("SEED")
STRATEGY, CREW = os.environ.get("STRATEGY"), os.environ.get("CREW")
"""Parameters of `make chaos`."""


asked_for = pytest.mark.skipif(FAULTS is None, reason="`make chaos` runs it")
left_out = pytest.mark.skipif(FAULTS is not None, reason="the long run is asked for")


@pytest.fixture(scope="module")
def kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KafkaNode]:
    """Run an Apache Kafka for these tests only, since they stop it."""
    with running_node(tmp_path_factory.mktemp("chaos-kafka")) as kafka:
        yield kafka


@pytest.fixture
def seed() -> int:
    return int(SEED) if SEED else time.time_ns() % 1_000_000


async def endure(
    broker: Broker, kafka: KafkaNode | None, crew: str, by: tuple[str, ...], faults: int, seed: int, path: Path
) -> None:
    """Run a line through faults and check the result."""
    print(f"\nSEED={seed}: {faults} faults, {crew}, {', '.join(by)} on {broker.name}; logs in {path}", flush=True)
    depot = Depot(broker, f"chaos-{seed}-{crew}-{by[0]}", path / "depot", path, variables=VARIABLES)
    planned = plan(seed, faults, CREWS[crew], broker=kafka is not None)
    try:
        ended = await run(depot, kafka, CREWS[crew], by, planned, say)
    finally:
        depot.end()
    await depot.delete_topics()
    print(ended, flush=True)
    assert not ended.reckoning.wrong()


def say(text: str) -> None:
    print(text, flush=True)


@left_out
@pytest.mark.timeout(900)
async def test_each_kind_of_fault_once_loses_nothing_on_apache_kafka(
    kafka: KafkaNode, seed: int, tmp_path: Path
) -> None:
    await endure(Broker("kafka", kafka.bootstrap), kafka, "apart", tuple(STRATEGIES), len(Kind), seed, tmp_path)


@left_out
@pytest.mark.timeout(900)
async def test_and_whole_workers_without_the_fault_that_the_embedded_broker_cannot_survive(
    embedded_broker: Broker, seed: int, tmp_path: Path
) -> None:
    await endure(embedded_broker, None, "whole", tuple(STRATEGIES), len(Kind) - 1, seed, tmp_path)


@asked_for
@pytest.mark.parametrize("strategy", [STRATEGY] if STRATEGY else list(STRATEGIES))
@pytest.mark.parametrize("crew", [CREW] if CREW else list(CREWS))
@pytest.mark.timeout(300 + 40 * int(FAULTS or 0))
async def test_many_faults_lose_nothing(kafka: KafkaNode, crew: str, strategy: str, seed: int, tmp_path: Path) -> None:
    await endure(Broker("kafka", kafka.bootstrap), kafka, crew, (strategy,), int(FAULTS or 0), seed, tmp_path)
